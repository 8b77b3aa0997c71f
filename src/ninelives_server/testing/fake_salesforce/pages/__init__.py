"""What people see in a browser: login, consent, and Setup under Salesforce's names."""
