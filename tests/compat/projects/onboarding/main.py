from accounts.service import Account, Busy, create

SERVICES = ("mail", "wiki", "payroll")


class Onboarding:
    def __init__(self, name, session_id):
        self.name = name
        self.session_id = session_id
        self.accounts = []

    def run(self):
        for service in SERVICES:
            try:
                self.accounts.append(create(Account(self.name, service)))
            except Busy as error:
                print(f"{error} ({error.status})")
        return {account.service: account.id for account in self.accounts}


def on_hired(event, session_id):
    assert session_id == event.session_id
    made = Onboarding(event.data.body.json["name"], session_id).run()
    print(f"accounts: {sorted(made)}")
    return made
