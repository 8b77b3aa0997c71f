"""An example for each command, shown at the end of its help; a test reads each as a command."""

from collections.abc import Iterator, Mapping

import click

#: By the words of the command. Arguments are made up, options are real.
EXAMPLES: Mapping[str, str] = {
    "up": "ninelives up --data-dir ~/ninelives",
    "server run": "ninelives server run --database-url postgresql://db/nine --temporal-address temporal:7233",
    "server migrate": "ninelives server migrate --database-url postgresql://db/ninelives",
    "server rotate-key": "ninelives server rotate-key --data-dir ~/ninelives",
    "worker": "ninelives worker --server https://ninelives.example --token-file worker-token",
    "worker list": "ninelives worker list",
    "init": "ninelives init first",
    "doctor": "ninelives doctor",
    "explain": "ninelives explain main.py",
    "completion": "ninelives completion bash",
    "fake-salesforce": "ninelives fake-salesforce --port 9443",
    "login": "ninelives login --web",
    "token create": "ninelives token create ci",
    "token list": "ninelives token list -o json",
    "token revoke": "ninelives token revoke tok_01jd8x",
    "demo": "ninelives demo --once",
    "deploy": "ninelives deploy ./lead_router --dry-run",
    "project list": "ninelives project list",
    "project show": "ninelives project show lead_router",
    "project create": "ninelives project create lead_router",
    "project delete": "ninelives project delete lead_router --yes",
    "project retention": "ninelives project retention lead_router --sessions 90",
    "project concurrency": "ninelives project concurrency lead_router 10",
    "build list": "ninelives build list lead_router",
    "build show": "ninelives build show bld_01jd8x",
    "deployment list": "ninelives deployment list lead_router",
    "deployment activate": "ninelives deployment activate dep_01jd8x",
    "deployment test": "ninelives deployment test dep_01jd8x",
    "deployment deactivate": "ninelives deployment deactivate dep_01jd8x",
    "deployment delete": "ninelives deployment delete dep_01jd8x",
    "trigger list": "ninelives trigger list lead_router",
    "trigger show": "ninelives trigger show lead_router/quote_api",
    "trigger limits": "ninelives trigger limits lead_router/quote_api --max-concurrent 5",
    "var set": "ninelives var set lead_router API_KEY env:API_KEY --secret",
    "var list": "ninelives var list lead_router",
    "var delete": "ninelives var delete lead_router API_KEY",
    "connection create": (
        "ninelives connection create leads crm salesforce --set client_id=3MVG9 --set client_secret=@secret"
    ),
    "connection list": "ninelives connection list lead_router",
    "connection show": "ninelives connection show lead_router/crm",
    "connection edit": "ninelives connection edit lead_router/crm --set client_secret=-",
    "connection init": "ninelives connection init lead_router/crm",
    "connection test": "ninelives connection test lead_router/crm",
    "connection refresh": "ninelives connection refresh lead_router/crm",
    "connection revoke": "ninelives connection revoke lead_router/crm",
    "connection doctor": "ninelives connection doctor lead_router/crm",
    "connection delete": "ninelives connection delete lead_router/crm --yes",
    "integrations list": "ninelives integrations list",
    "event list": "ninelives event list lead_router --limit 10",
    "event show": "ninelives event show evt_01jd8x -o json",
    "event redispatch": "ninelives event redispatch evt_01jd8x",
    "event verify-filter": "ninelives event verify-filter 'data.amount > 100' --data '{\"amount\": 120}'",
    "store list": "ninelives store list lead_router",
    "store get": "ninelives store get lead_router counter",
    "store set": "ninelives store set lead_router counter 5",
    "store delete": "ninelives store delete lead_router counter",
    "store publish": "ninelives store publish lead_router counter",
    "session start": "ninelives session start lead_router main.py:hello -i name='\"Ada\"' --durable --wait",
    "session list": "ninelives session list lead_router --state error",
    "session show": "ninelives session show ses_01jd8x",
    "session logs": "ninelives session logs ses_01jd8x",
    "session steps": "ninelives session steps ses_01jd8x",
    "session stop": "ninelives session stop ses_01jd8x --grace 30",
    "session fork": "ninelives session fork ses_01jd8x --from-step 12",
    "session watch": "ninelives session watch ses_01jd8x",
}


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield all that can be run, with its words."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))


def show_in(program: click.Group) -> None:
    """Put the examples at the end of the commands' help."""
    for words, command in commands(program):
        if words in EXAMPLES:
            command.epilog = f"\b\nExample:\n  {EXAMPLES[words]}"
