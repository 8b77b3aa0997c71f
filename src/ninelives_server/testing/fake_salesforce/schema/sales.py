"""Account, Contact, Lead, Opportunity and Campaign.

Order and types follow change event schemas and describe results of Developer Edition orgs that were
published with open source projects; bit positions of change events depend on the order.
"""

from ninelives_server.testing.fake_salesforce.schema.fields import (
    SObject,
    address,
    boolean,
    currency,
    day,
    email,
    head,
    hidden,
    integer,
    long_text,
    moment,
    number,
    owner,
    percent,
    person_name,
    phone,
    picklist,
    reference,
    stamps,
    text,
    url,
)

INDUSTRIES = (
    "Agriculture", "Apparel", "Banking", "Biotechnology", "Chemicals", "Communications",
    "Construction", "Consulting", "Education", "Electronics", "Energy", "Engineering",
    "Entertainment", "Environmental", "Finance", "Food & Beverage", "Government", "Healthcare",
    "Hospitality", "Insurance", "Machinery", "Manufacturing", "Media", "Not For Profit",
    "Recreation", "Retail", "Shipping", "Technology", "Telecommunications", "Transportation",
    "Utilities", "Other",
)  # fmt: skip
LEAD_SOURCES = ("Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other")
RATINGS = ("Hot", "Warm", "Cold")
CLEAN = ("Matched", "Different", "Acknowledged", "NotFound", "Inactive", "Pending", "SelectMatch", "Skipped")

#: Stage of an opportunity -> probability, closed, won, forecast category.
STAGES: dict[str, tuple[int, bool, bool, str]] = {
    "Prospecting": (10, False, False, "Pipeline"),
    "Qualification": (10, False, False, "Pipeline"),
    "Needs Analysis": (20, False, False, "Pipeline"),
    "Value Proposition": (50, False, False, "Pipeline"),
    "Id. Decision Makers": (60, False, False, "Pipeline"),
    "Perception Analysis": (70, False, False, "Pipeline"),
    "Proposal/Price Quote": (75, False, False, "Pipeline"),
    "Negotiation/Review": (90, False, False, "Pipeline"),
    "Closed Won": (100, True, True, "Closed"),
    "Closed Lost": (0, True, False, "Omitted"),
}


def account() -> SObject:
    """Return Account."""
    return SObject(
        name="Account", label="Account", plural="Accounts", prefix="001",
        children=(("Contact", "AccountId", "Contacts"), ("Opportunity", "AccountId", "Opportunities"),
                  ("Case", "AccountId", "Cases"), ("Account", "ParentId", "ChildAccounts")),
        fields=(
            *head(),
            hidden(reference("MasterRecordId", "Master Record ID", "Account")),
            text("Name", "Account Name", required=True, doc="Data:Switchable_PersonName"),
            picklist("Type", "Account Type", (
                "Prospect", "Customer - Direct", "Customer - Channel", "Channel Partner / Reseller",
                "Installation Partner", "Technology Partner", "Other")),
            reference("ParentId", "Parent Account ID", "Account"),
            *address("Billing", "Billing"),
            *address("Shipping", "Shipping"),
            phone("Phone", "Account Phone"),
            phone("Fax", "Account Fax"),
            text("AccountNumber", "Account Number", 40),
            url("Website", "Website"),
            hidden(url("PhotoUrl", "Photo URL")),
            text("Sic", "SIC Code", 20),
            picklist("Industry", "Industry", INDUSTRIES),
            currency("AnnualRevenue", "Annual Revenue"),
            integer("NumberOfEmployees", "Employees"),
            picklist("Ownership", "Ownership", ("Public", "Private", "Subsidiary", "Other")),
            text("TickerSymbol", "Ticker Symbol", 20),
            long_text("Description", "Account Description"),
            picklist("Rating", "Account Rating", RATINGS),
            text("Site", "Account Site", 80),
            owner(),
            *stamps(),
            hidden(day("LastActivityDate", "Last Activity")),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
            text("Jigsaw", "Data.com Key", 20),
            text("JigsawCompanyId", "Jigsaw Company ID", 20, doc="ExternalForeignKey:ExternalId",
                 creatable=False, updateable=False),
            picklist("CleanStatus", "Clean Status", CLEAN, doc="Data:StaticEnum", restricted=True),
            picklist("AccountSource", "Account Source", LEAD_SOURCES),
            text("DunsNumber", "D-U-N-S Number", 9),
            text("Tradestyle", "Tradestyle"),
            text("NaicsCode", "NAICS Code", 8),
            text("NaicsDesc", "NAICS Description", 120),
            text("YearStarted", "Year Started", 4),
            text("SicDesc", "SIC Description", 80),
            reference("DandbCompanyId", "D&B Company ID", "DandBCompany"),
            reference("OperatingHoursId", "Operating Hour ID", "OperatingHours"),
        ),
    )  # fmt: skip


def contact() -> SObject:
    """Return Contact."""
    kept = {"creatable": False, "updateable": False}
    return SObject(
        name="Contact", label="Contact", plural="Contacts", prefix="003",
        children=(("Case", "ContactId", "Cases"), ("Task", "WhoId", "Tasks")),
        fields=(
            *head(),
            hidden(reference("MasterRecordId", "Master Record ID", "Contact")),
            reference("AccountId", "Account ID", "Account"),
            *person_name(),
            *address("Other", "Other"),
            *address("Mailing", "Mailing"),
            phone("Phone", "Business Phone"),
            phone("Fax", "Business Fax"),
            phone("MobilePhone", "Mobile Phone"),
            phone("HomePhone", "Home Phone"),
            phone("OtherPhone", "Other Phone"),
            phone("AssistantPhone", "Asst. Phone"),
            reference("ReportsToId", "Reports To ID", "Contact"),
            email("Email", "Email"),
            text("Title", "Title", 128),
            text("Department", "Department", 80),
            text("AssistantName", "Assistant's Name", 40),
            picklist("LeadSource", "Lead Source", LEAD_SOURCES),
            day("Birthdate", "Birthdate"),
            long_text("Description", "Contact Description"),
            owner(),
            boolean("HasOptedOutOfEmail", "Email Opt Out"),
            boolean("HasOptedOutOfFax", "Fax Opt Out"),
            boolean("DoNotCall", "Do Not Call"),
            *stamps(),
            hidden(day("LastActivityDate", "Last Activity")),
            moment("LastCURequestDate", "Last Stay-in-Touch Request Date", **kept),
            moment("LastCUUpdateDate", "Last Stay-in-Touch Save Date", **kept),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
            text("EmailBouncedReason", "Email Bounced Reason"),
            moment("EmailBouncedDate", "Email Bounced Date"),
            hidden(boolean("IsEmailBounced", "Is Email Bounced")),
            hidden(url("PhotoUrl", "Photo URL")),
            text("Jigsaw", "Data.com Key", 20),
            text("JigsawContactId", "Jigsaw Contact ID", 20, doc="ExternalForeignKey:ExternalId",
                 creatable=False, updateable=False),
            picklist("CleanStatus", "Clean Status", CLEAN, doc="Data:StaticEnum", restricted=True),
            reference("IndividualId", "Individual ID", "Individual"),
        ),
    )  # fmt: skip


def lead() -> SObject:
    """Return Lead."""
    kept = {"creatable": False, "updateable": False}
    return SObject(
        name="Lead", label="Lead", plural="Leads", prefix="00Q",
        children=(("Task", "WhoId", "Tasks"),),
        fields=(
            *head(),
            hidden(reference("MasterRecordId", "Master Record ID", "Lead")),
            *person_name(),
            text("Title", "Title", 128),
            text("Company", "Company", required=True),
            *address("", ""),
            phone("Phone", "Phone"),
            phone("MobilePhone", "Mobile Phone"),
            phone("Fax", "Fax"),
            email("Email", "Email"),
            url("Website", "Website"),
            hidden(url("PhotoUrl", "Photo URL")),
            long_text("Description", "Description"),
            picklist("LeadSource", "Lead Source", LEAD_SOURCES),
            picklist("Status", "Status", (
                "Open - Not Contacted", "Working - Contacted", "Closed - Converted",
                "Closed - Not Converted"), default="Open - Not Contacted"),
            picklist("Industry", "Industry", INDUSTRIES),
            picklist("Rating", "Rating", RATINGS),
            currency("AnnualRevenue", "Annual Revenue"),
            integer("NumberOfEmployees", "Employees"),
            owner("Group", "User"),
            boolean("HasOptedOutOfEmail", "Email Opt Out"),
            boolean("IsConverted", "Converted", **kept),
            day("ConvertedDate", "Converted Date", **kept),
            reference("ConvertedAccountId", "Converted Account ID", "Account", **kept),
            reference("ConvertedContactId", "Converted Contact ID", "Contact", **kept),
            reference("ConvertedOpportunityId", "Converted Opportunity ID", "Opportunity", **kept),
            boolean("IsUnreadByOwner", "Unread By Owner", default=True),
            *stamps(),
            hidden(day("LastActivityDate", "Last Activity")),
            boolean("DoNotCall", "Do Not Call"),
            boolean("HasOptedOutOfFax", "Fax Opt Out"),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
            moment("LastTransferDate", "Last Transfer Date", **kept),
            text("Jigsaw", "Data.com Key", 20),
            text("JigsawContactId", "Jigsaw Contact ID", 20, doc="ExternalForeignKey:ExternalId", **kept),
            picklist("CleanStatus", "Clean Status", CLEAN, doc="Data:StaticEnum", restricted=True),
            text("CompanyDunsNumber", "Company D-U-N-S Number", 9),
            reference("DandbCompanyId", "D&B Company ID", "DandBCompany"),
            text("EmailBouncedReason", "Email Bounced Reason"),
            moment("EmailBouncedDate", "Email Bounced Date"),
            reference("IndividualId", "Individual ID", "Individual"),
        ),
    )  # fmt: skip


def opportunity() -> SObject:
    """Return Opportunity."""
    kept = {"creatable": False, "updateable": False}
    return SObject(
        name="Opportunity", label="Opportunity", plural="Opportunities", prefix="006",
        children=(("Task", "WhatId", "Tasks"),),
        fields=(
            *head(),
            reference("AccountId", "Account ID", "Account"),
            boolean("IsPrivate", "Private"),
            text("Name", "Name", 120, required=True),
            long_text("Description", "Description"),
            picklist("StageName", "Stage", STAGES, required=True),
            currency("Amount", "Amount", 2),
            percent("Probability", "Probability (%)"),
            currency("ExpectedRevenue", "Expected Amount", 2, **kept),
            number("TotalOpportunityQuantity", "Quantity", 18, 2),
            day("CloseDate", "Close Date", required=True),
            picklist("Type", "Opportunity Type", (
                "Existing Customer - Upgrade", "Existing Customer - Replacement",
                "Existing Customer - Downgrade", "New Customer")),
            text("NextStep", "Next Step"),
            picklist("LeadSource", "Lead Source", LEAD_SOURCES),
            boolean("IsClosed", "Closed", **kept),
            boolean("IsWon", "Won", **kept),
            picklist("ForecastCategory", "Forecast Category",
                     ("Omitted", "Pipeline", "BestCase", "Forecast", "Closed"), restricted=True, **kept),
            picklist("ForecastCategoryName", "Forecast Category",
                     ("Omitted", "Pipeline", "Best Case", "Commit", "Closed")),
            reference("CampaignId", "Campaign ID", "Campaign"),
            boolean("HasOpportunityLineItem", "Has Line Item", **kept),
            reference("Pricebook2Id", "Price Book ID", "Pricebook2"),
            owner(),
            *stamps(),
            hidden(day("LastActivityDate", "Last Activity")),
            moment("LastStageChangeDate", "Last Stage Change Date", **kept),
            hidden(integer("FiscalYear", "Fiscal Year")),
            hidden(integer("FiscalQuarter", "Fiscal Quarter")),
            reference("ContactId", "Contact ID", "Contact", updateable=False),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
        ),
    )  # fmt: skip


def campaign() -> SObject:
    """Return Campaign."""
    kept = {"creatable": False, "updateable": False, "default": 0}
    return SObject(
        name="Campaign", label="Campaign", plural="Campaigns", prefix="701",
        children=(("Opportunity", "CampaignId", "Opportunities"),),
        fields=(
            *head(),
            text("Name", "Name", 80, required=True),
            reference("ParentId", "Parent Campaign ID", "Campaign"),
            picklist("Type", "Type", (
                "Conference", "Webinar", "Trade Show", "Public Relations", "Partners",
                "Referral Program", "Advertisement", "Banner Ads", "Direct Mail", "Email",
                "Telemarketing", "Other")),
            picklist("Status", "Status", ("Planned", "In Progress", "Completed", "Aborted"),
                     default="Planned"),
            day("StartDate", "Start Date"),
            day("EndDate", "End Date"),
            currency("ExpectedRevenue", "Expected Revenue"),
            currency("BudgetedCost", "Budgeted Cost"),
            currency("ActualCost", "Actual Cost"),
            percent("ExpectedResponse", "Expected Response (%)", 10),
            number("NumberSent", "Num Sent", 18, 0, default=0),
            boolean("IsActive", "Active"),
            long_text("Description", "Description"),
            integer("NumberOfLeads", "Leads in Campaign", **kept),
            integer("NumberOfConvertedLeads", "Converted Leads in Campaign", **kept),
            integer("NumberOfContacts", "Contacts in Campaign", **kept),
            integer("NumberOfResponses", "Responses in Campaign", **kept),
            integer("NumberOfOpportunities", "Opportunities in Campaign", **kept),
            integer("NumberOfWonOpportunities", "Won Opportunities in Campaign", **kept),
            currency("AmountAllOpportunities", "Value Opportunities in Campaign", **kept),
            currency("AmountWonOpportunities", "Value Won Opportunities in Campaign", **kept),
            owner(),
            *stamps(),
            hidden(day("LastActivityDate", "Last Activity")),
            hidden(moment("LastViewedDate", "Last Viewed Date")),
            hidden(moment("LastReferencedDate", "Last Referenced Date")),
        ),
    )  # fmt: skip
