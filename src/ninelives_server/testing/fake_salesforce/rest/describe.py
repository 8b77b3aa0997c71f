"""Describe results: what an object and its fields are, in the words of the REST API."""

from typing import Any

from ninelives_server.testing.fake_salesforce.schema.fields import NUMBERS, SOAP_TYPES, Field, SObject

# spellchecker:off  (Salesforce's spelling)


def summary(sobject: SObject, base: str) -> dict[str, Any]:
    """Return the entry of the list of objects."""
    stored = not sobject.event_type
    path = f"{base}/sobjects/{sobject.name}"
    return {
        "activateable": False, "associateEntityType": None, "associateParentEntity": None,
        "createable": sobject.creatable, "custom": sobject.custom, "customSetting": False,
        "deepCloneable": False, "deletable": sobject.deletable and stored, "deprecatedAndHidden": False,
        "feedEnabled": False, "hasSubtypes": False, "isInterface": False, "isSubtype": False,
        "keyPrefix": sobject.prefix, "label": sobject.label, "labelPlural": sobject.plural,
        "layoutable": stored, "mergeable": sobject.name in {"Account", "Contact", "Lead"},
        "mruEnabled": stored, "name": sobject.name, "queryable": stored, "replicateable": stored,
        "retrieveable": stored, "searchable": stored, "triggerable": True,
        "undeletable": sobject.deletable and stored, "updateable": sobject.creatable and stored,
        "urls": {"rowTemplate": f"{path}/{{ID}}", "describe": f"{path}/describe", "sobject": path},
    }  # fmt: skip


def full(sobject: SObject, base: str) -> dict[str, Any]:
    """Return the whole describe result."""
    children = [
        {"cascadeDelete": False, "childSObject": child, "deprecatedAndHidden": False, "field": field,
         "junctionIdListNames": [], "junctionReferenceTo": [], "relationshipName": name,
         "restrictedDelete": False}
        for child, field, name in sobject.children
    ]  # fmt: skip
    return {
        **summary(sobject, base),
        "actionOverrides": [],
        "childRelationships": children,
        "compactLayoutable": not sobject.event_type,
        "fields": [_field(sobject, f) for f in sobject.fields],
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            {"active": True, "available": True, "defaultRecordTypeMapping": True,
             "developerName": "Master", "master": True, "name": "Master",
             "recordTypeId": "012000000000000AAA", "urls": {}}
        ],
        "searchLayoutable": not sobject.event_type,
        "supportedScopes": [{"label": "All records", "name": "everything"}],
    }  # fmt: skip


def _field(sobject: SObject, field: Field) -> dict[str, Any]:
    is_name = field.name == "Name" or (field.name == "CaseNumber" and sobject.name == "Case")
    compound = f"{field.compound}" if field.compound else None
    picklist = [
        {"active": True, "defaultValue": value == field.default, "label": value, "validFor": None,
         "value": value}
        for value in field.picklist
    ]  # fmt: skip
    many = len(field.reference_to) > 1
    is_int = field.type == "int"
    return {
        "aggregatable": field.type not in {"address", "textarea", "boolean"}, "aiPredictionField": False,
        "autoNumber": field.name == "CaseNumber", "byteLength": field.length * 3, "calculated": False,
        "calculatedFormula": None, "cascadeDelete": False, "caseSensitive": False,
        "compoundFieldName": compound, "controllerName": None, "createable": field.creatable,
        "custom": field.custom, "defaultValue": field.default, "defaultValueFormula": None,
        "defaultedOnCreate": field.default is not None or field.name == "OwnerId",
        "dependentPicklist": False, "deprecatedAndHidden": False,
        "digits": field.precision if is_int else 0, "displayLocationInDecimal": False,
        "encrypted": False, "externalId": field.external_id, "extraTypeInfo": None,
        "filterable": field.type not in {"textarea", "address"} or field.length <= 255,
        "filteredLookupInfo": None, "formulaTreatNullNumberAsZero": False,
        "groupable": field.type not in NUMBERS | {"datetime", "address", "textarea"},
        "highScaleNumber": False, "htmlFormatted": False, "idLookup": field.type == "id" or field.external_id,
        "inlineHelpText": None, "label": field.label, "length": field.length, "mask": None,
        "maskType": None, "name": field.name, "nameField": is_name, "namePointing": many,
        "nillable": field.nillable, "permissionable": not field.required and field.creatable,
        "picklistValues": picklist, "polymorphicForeignKey": many,
        "precision": 0 if is_int else field.precision, "queryByDistance": field.type == "address",
        "referenceTargetField": None, "referenceTo": list(field.reference_to),
        "relationshipName": field.relationship, "relationshipOrder": None,
        "restrictedDelete": False, "restrictedPicklist": field.restricted, "scale": field.scale,
        "searchPrefilterable": False, "soapType": SOAP_TYPES.get(field.type, "xsd:string"),
        "sortable": field.type not in {"address", "textarea"}, "type": field.type, "unique": field.unique,
        "updateable": field.updateable, "writeRequiresMasterRead": False,
    }  # fmt: skip


# spellchecker:on
