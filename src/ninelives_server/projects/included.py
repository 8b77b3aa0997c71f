"""Libraries that AutoKitteh's own environment has: its projects import them without naming them anywhere.

There every project runs on top of `autokitteh[all]`. Here a project of AutoKitteh gets those that it imports.
The names on the left are modules, with dots where a distribution shares its first name with others.
"""

from collections.abc import Iterable, Iterator

#: pydantic-ai 1.30 imports `opentelemetry._events`, which opentelemetry-api 1.40 has no more.
PYDANTIC_AI = ("pydantic-ai~=1.30", "opentelemetry-api<1.40")
#: What of it there was when SDK 0.8.3 came out; `mcp` 2 has other names.
MCP = "mcp<2"

#: Of what `autokitteh[all]` 0.8.3 installs, the libraries that projects use; found by installing it.
_LIBRARIES: dict[str, str | tuple[str, ...]] = {
    "aiohttp": "aiohttp",
    "anthropic": "anthropic~=0.75.0",
    "anyio": "anyio",
    "asana": "asana~=5.0",
    "atlassian": "atlassian-python-api~=3.41",
    "attr": "attrs",
    "attrs": "attrs",
    "auth0": "auth0-python~=4.7",
    "authlib": "Authlib",
    "azure.core": "azure-core",
    "azure.identity": "azure-identity~=1.19",
    "boto3": "boto3~=1.35",
    "botocore": "boto3~=1.35",
    "bs4": "beautifulsoup4",
    "cachetools": "cachetools",
    "certifi": "certifi",
    "charset_normalizer": "charset-normalizer",
    "click": "click",
    "cohere": "cohere",
    "cryptography": "cryptography",
    "dateutil": "python-dateutil",
    "discord": "discord.py~=2.5",
    "dns": "dnspython",
    "dotenv": "python-dotenv",
    "email_validator": "email-validator",
    "fastmcp": "fastmcp",
    "filelock": "filelock",
    "github": "PyGithub~=2.8.1",
    "google.ai.generativelanguage": "google-ai-generativelanguage",
    "google.api_core": "google-api-core",
    "google.auth": "google-auth",
    "google.genai": "google-genai",
    "google.generativeai": "google-generativeai~=0.8",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "google_auth_httplib2": "google-auth-httplib2~=0.2",
    "google_auth_oauthlib": "google-auth-oauthlib~=1.2",
    "googleapiclient": "google-api-python-client~=2.155",
    "groq": "groq",
    "grpc": "grpcio~=1.68",
    "grpc_reflection": "grpcio-reflection~=1.68",
    "gspread": "gspread~=6.2",
    "gspread_formatting": "gspread-formatting",
    "httplib2": "httplib2",
    "httpx": "httpx",
    "hubspot": "hubspot-api-client~=11.1",
    "huggingface_hub": "huggingface-hub",
    "isodate": "isodate",
    "jmespath": "jmespath",
    "jsonschema": "jsonschema",
    "jwt": "PyJWT",
    "kubernetes": "kubernetes~=31.0",
    "logfire": "logfire",
    "lxml": "lxml",
    "markdown_it": "markdown-it-py",
    "mcp": MCP,
    "mistralai": "mistralai",
    "more_itertools": "more-itertools",
    "msal": "msal",
    "msgraph": "msgraph-sdk~=1.18",
    "nacl": "PyNaCl",
    "notion_client": "notion_client~=2.0",
    "oauthlib": "oauthlib",
    "openai": "openai~=1.57",
    "opentelemetry": "opentelemetry-sdk",
    "packaging": "packaging",
    "pipedrive": "pipedrive-python-lib~=1.2",
    "platformdirs": "platformdirs",
    "praw": "praw~=7.8",
    "prawcore": "praw~=7.8",
    "pyairtable": "pyairtable~=3.1",
    "pydantic": "pydantic",
    "pydantic_ai": PYDANTIC_AI,
    "pydantic_evals": PYDANTIC_AI,
    "pydantic_graph": PYDANTIC_AI,
    "pydantic_settings": "pydantic-settings",
    "pygments": "Pygments",
    "pyparsing": "pyparsing",
    "requests": "requests~=2.32",
    "requests_oauthlib": "requests-oauthlib",
    "requests_toolbelt": "requests-toolbelt~=1.0",
    "rich": "rich",
    "simple_salesforce": "simple-salesforce~=1.12",
    "six": "six",
    "slack_sdk": "slack-sdk~=3.33",
    "soupsieve": "beautifulsoup4",
    "starlette": "starlette",
    "telegram": "python-telegram-bot~=22.0",
    "tenacity": "tenacity",
    "tqdm": "tqdm",
    "twilio": "twilio~=9.4",
    "typing_extensions": "typing_extensions",
    "uritemplate": "uritemplate",
    "urllib3": "urllib3",
    "uvicorn": "uvicorn",
    "websocket": "websocket-client",
    "websockets": "websockets",
    "wrapt": "wrapt",
    "yaml": "PyYAML",
    "zeep": "zeep",
}

#: What `autokitteh[all]` does not have either, although public examples without `requirements.txt` import it.
_ASSUMED = {
    "agents": "openai-agents",
    "jenkins": "python-jenkins",
    "langchain_core": "langchain-core",
    "langchain_google_genai": "langchain-google-genai",
    "langchain_tavily": "langchain-tavily",
    "langgraph": "langgraph",
    "paramiko": "paramiko",
    "psycopg2": "psycopg2-binary",
}


def libraries(imports: Iterable[str]) -> Iterator[str]:
    """Yield a requirement for each imported module that AutoKitteh's environment has, in a fixed order."""
    found = set(imports)
    for module, requirement in (*_LIBRARIES.items(), *_ASSUMED.items()):
        if any(name == module or name.startswith(f"{module}.") for name in found):
            yield from (requirement,) if isinstance(requirement, str) else requirement
