"""Case, Task and User, and the Organization that only queries see."""

from ninelives_server.testing.fake_salesforce.schema.fields import (
    Field,
    SObject,
    address,
    boolean,
    day,
    email,
    head,
    hidden,
    integer,
    long_text,
    moment,
    owner,
    person_name,
    phone,
    picklist,
    reference,
    stamps,
    text,
)

#: Case status values that close a case.
CASE_CLOSED = frozenset({"Closed"})
#: Task status values that close a task.
TASK_CLOSED = frozenset({"Completed"})


def case() -> SObject:
    """Return Case."""
    kept = {"creatable": False, "updateable": False}
    return SObject(
        name="Case", label="Case", plural="Cases", prefix="500",
        children=(("Task", "WhatId", "Tasks"),),
        fields=(
            *head(),
            hidden(reference("MasterRecordId", "Master Record ID", "Case")),
            text("CaseNumber", "Case Number", 30, **kept),
            reference("ContactId", "Contact ID", "Contact"),
            reference("AccountId", "Account ID", "Account"),
            reference("AssetId", "Asset ID", "Asset"),
            reference("ParentId", "Parent Case ID", "Case"),
            text("SuppliedName", "Name", 80),
            email("SuppliedEmail", "Email Address"),
            text("SuppliedPhone", "Phone", 40),
            text("SuppliedCompany", "Company", 80),
            picklist("Type", "Case Type",
                     ("Mechanical", "Electrical", "Electronic", "Structural", "Other")),
            picklist("Status", "Status", ("New", "Working", "Escalated", "Closed"), default="New"),
            picklist("Reason", "Case Reason", (
                "Installation", "Equipment Complexity", "Performance", "Breakdown",
                "Equipment Design", "Feedback", "Other")),
            picklist("Origin", "Case Origin", ("Phone", "Email", "Web")),
            text("Subject", "Subject"),
            picklist("Priority", "Priority", ("High", "Medium", "Low"), default="Medium"),
            long_text("Description", "Description"),
            boolean("IsClosed", "Closed", **kept),
            moment("ClosedDate", "Closed Date", **kept),
            boolean("IsEscalated", "Escalated"),
            owner("Group", "User"),
            *stamps(),
            hidden(phone("ContactPhone", "Contact Phone")),
            hidden(phone("ContactMobile", "Contact Mobile")),
            hidden(email("ContactEmail", "Contact Email")),
            hidden(long_text("Comments", "Internal Comments", 4000)),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
        ),
    )  # fmt: skip


def task() -> SObject:
    """Return Task."""
    kept = {"creatable": False, "updateable": False}
    return SObject(
        name="Task", label="Task", plural="Tasks", prefix="00T",
        fields=(
            *head(),
            reference("WhoId", "Name ID", ("Contact", "Lead")),
            reference("WhatId", "Related To ID", ("Account", "Campaign", "Case", "Opportunity")),
            Field(name="Subject", type="combobox", label="Subject", length=255,
                  picklist=("Call", "Email", "Send Letter", "Send Quote", "Other"), doc="Data:Text"),
            day("ActivityDate", "Due Date Only"),
            picklist("Status", "Status", (
                "Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred"),
                default="Not Started"),
            picklist("Priority", "Priority", ("High", "Normal", "Low"), default="Normal"),
            hidden(boolean("IsHighPriority", "High Priority")),
            owner("Group", "User"),
            long_text("Description", "Description"),
            reference("AccountId", "Account ID", "Account", **kept),
            boolean("IsClosed", "Closed", **kept),
            *stamps(),
            hidden(boolean("IsArchived", "Archived")),
            integer("CallDurationInSeconds", "Call Duration"),
            picklist("CallType", "Call Type", ("Internal", "Inbound", "Outbound")),
            text("CallDisposition", "Call Result"),
            text("CallObject", "Call Object Identifier"),
            moment("ReminderDateTime", "Reminder Date/Time"),
            boolean("IsReminderSet", "Reminder Set"),
            boolean("IsRecurrence", "Create Recurring Series of Tasks", updateable=False),
            moment("CompletedDateTime", "Completed Date", **kept),
            picklist("TaskSubtype", "Task Subtype", ("Task", "Email", "Call"), default="Task",
                     restricted=True, updateable=False, doc="Data:StaticEnum"),
        ),
    )  # fmt: skip


def user() -> SObject:
    """Return User."""
    return SObject(
        name="User", label="User", plural="Users", prefix="005", deletable=False,
        fields=(
            head()[0],
            text("Username", "Username", 80, required=True, doc="Data:Email"),
            *person_name(),
            text("CompanyName", "Company Name", 80),
            text("Division", "Division", 80),
            text("Department", "Department", 80),
            text("Title", "Title", 80),
            *address("", ""),
            email("Email", "Email", 128, required=True),
            phone("Phone", "Phone"),
            phone("Fax", "Fax"),
            phone("MobilePhone", "Mobile"),
            text("Alias", "Alias", 8, required=True),
            text("CommunityNickname", "Nickname", 40),
            boolean("IsActive", "Active", default=True),
            picklist("TimeZoneSidKey", "Time Zone", ("GMT", "Europe/Berlin", "America/Los_Angeles"),
                     default="GMT"),
            reference("UserRoleId", "Role ID", "UserRole"),
            picklist("LocaleSidKey", "Locale", ("en_US", "de_DE"), default="en_US"),
            boolean("ReceivesInfoEmails", "Info Emails"),
            boolean("ReceivesAdminInfoEmails", "Admin Info Emails"),
            picklist("EmailEncodingKey", "Email Encoding", ("UTF-8",), default="UTF-8"),
            reference("ProfileId", "Profile ID", "Profile"),
            picklist("UserType", "User Type", ("Standard",), default="Standard",
                     creatable=False, updateable=False, doc="Data:StaticEnum"),
            picklist("LanguageLocaleKey", "Language", ("en_US", "de"), default="en_US"),
            text("EmployeeNumber", "Employee Number", 20),
            reference("DelegatedApproverId", "Delegated Approver ID", ("Group", "User")),
            reference("ManagerId", "Manager ID", "User"),
            moment("LastLoginDate", "Last Login", creatable=False, updateable=False),
            *stamps(),
            text("FederationIdentifier", "SAML Federation ID", 512),
        ),
    )  # fmt: skip


def organization() -> SObject:
    """Return Organization: one record, read only."""
    return SObject(
        name="Organization", label="Organization", plural="Organizations", prefix="00D",
        change_events=False, creatable=False, deletable=False,
        fields=(
            head()[0],
            text("Name", "Name", 80),
            text("InstanceName", "Instance Name", 5),
            picklist("OrganizationType", "Edition", ("Developer Edition",)),
            boolean("IsSandbox", "Is Sandbox"),
            text("NamespacePrefix", "Namespace Prefix", 15),
            picklist("LanguageLocaleKey", "Language", ("en_US",)),
            picklist("TimeZoneSidKey", "Time Zone", ("GMT",)),
            *stamps(),
        ),
    )  # fmt: skip
