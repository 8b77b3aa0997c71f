"""Messages and stubs of Salesforce's Pub/Sub API, generated from `pubsub_api.proto` beside this file.

The fake org serves the same stubs: the protobuf runtime holds each symbol once per process, so there is one
copy. To make them again, in the repository's root:

    python -m grpc_tools.protoc --proto_path=src --python_out=src --pyi_out=src --grpc_python_out=src \
        src/ninelives_server/providers/salesforce/pb/pubsub_api.proto
"""
