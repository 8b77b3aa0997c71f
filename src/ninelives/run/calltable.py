"""The call table: what becomes a step, and what is called as it is. Data, nothing else.

A callable is looked up by its longest matching name: `module.Class.method`, then `module.Class`, then
`module`, then the packages around it. What is not found is a step. docs/reference/call-table.md shows the
same table to people.

Changing what a name means changes the keys of running sessions: that is a new semantics version, and `BEFORE`
says what the name meant until then.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Kind(Enum):
    """What happens to a call."""

    #: It only computes, or is an object of this process (a lock, a task) that comes back because the code
    #: runs again. It is called as it is.
    DIRECT = "direct"
    #: It computes on what it is given: callables among its arguments are decided upon as well, and where it
    #: is given a file, a live value or an I/O iterator the call is a step.
    INSPECT = "inspect"
    #: It opens what it is given: a buffer of this process is used directly, a path or a file is a step.
    OPENS = "opens"
    #: It takes a callable to run it later or elsewhere: that one is decided upon.
    RUNS = "runs"
    #: It keeps a callable that somebody calls later: that one is decided upon then.
    KEEPS = "keeps"
    #: It enters a context that it is given, and leaves it later: those are steps where they reach out.
    ENTERS = "enters"
    #: It reads a clock: the reading is recorded.
    CLOCK = "clock"
    #: It is computed from the session's seed.
    CHANCE = "chance"
    #: It waits for time to pass: a durable wait.
    SLEEP = "sleep"
    ASYNC_SLEEP = "async sleep"
    #: It is recorded as a step.
    STEP = "step"


def _names(prefix: str, names: str, kind: Kind) -> dict[str, Kind]:
    dot = f"{prefix}." if prefix else ""
    return {f"{dot}{name}": kind for name in names.split()}


#: Names under which the standard library's C modules and inner modules are looked up.
ALIASES: Final = {
    "_abc": "abc",
    "_asyncio": "asyncio",
    "_bisect": "bisect",
    "_blake2": "hashlib",
    "_bz2": "bz2",
    "_codecs": "codecs",
    "_collections": "collections",
    "_collections_abc": "collections.abc",
    "_contextvars": "contextvars",
    "_csv": "csv",
    "_datetime": "datetime",
    "_decimal": "decimal",
    "_elementtree": "xml.etree.ElementTree",
    "_functools": "functools",
    "_hashlib": "hashlib",
    "_heapq": "heapq",
    "_hmac": "hmac",
    "_io": "io",
    "_json": "json",
    "_lzma": "lzma",
    "_locale": "locale",
    "_md5": "hashlib",
    "_opcode": "dis",
    "_operator": "operator",
    "_pickle": "pickle",
    "_pydatetime": "datetime",
    "_pydecimal": "decimal",
    "_queue": "queue",
    "_random": "random",
    "_sha1": "hashlib",
    "_sha2": "hashlib",
    "_sha3": "hashlib",
    "_socket": "socket",
    "_sqlite3": "sqlite3",
    "_sre": "re",
    "_statistics": "statistics",
    "_string": "string",
    "_struct": "struct",
    "_thread": "threading",
    "_tracemalloc": "tracemalloc",
    "_uuid": "uuid",
    "_warnings": "warnings",
    "_weakref": "weakref",
    "_weakrefset": "weakref",
    "_zoneinfo": "zoneinfo",
    "concurrent.futures._base": "concurrent.futures",
    "concurrent.futures.process": "concurrent.futures",
    "concurrent.futures.thread": "concurrent.futures",
    "genericpath": "os.path",
    "json.decoder": "json",
    "json.encoder": "json",
    "nt": "os",
    "ntpath": "os.path",
    "pathlib._abc": "pathlib",
    "pathlib._local": "pathlib",
    "posix": "os",
    "posixpath": "os.path",
    "random._inst": "random",
    "zoneinfo._zoneinfo": "zoneinfo",
}

_COMPUTING: Final = (
    "abc argparse array ast base64 binascii bisect builtins bz2 calendar cmath codecs collections colorsys "
    "configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib dis email "
    "encodings enum errno fnmatch fractions functools gc getopt gettext graphlib gzip hashlib heapq hmac "
    "html http importlib inspect ipaddress itertools json keyword linecache locale lzma marshal math "
    "mimetypes "
    "numbers opcode operator optparse pickle pprint quopri random re reprlib secrets shlex statistics string "
    "stringprep struct symtable sys sysconfig tarfile textwrap token tokenize traceback tracemalloc types "
    "typing unicodedata unittest urllib.parse urllib.error uuid warnings weakref xml zipfile zlib zoneinfo"
)
_OF_THIS_PROCESS: Final = (
    "_multiprocessing _sitebuiltins asyncio atexit concurrent.futures faulthandler logging multiprocessing "
    "queue resource sched signal threading io.StringIO io.BytesIO"
)
_THIRD_PARTY: Final = (
    "annotated_types attr attrs babel bs4 cattrs click dateutil deepdiff docx humanize inflection jinja2 "
    "PIL jmespath jsonschema lxml markdown markupsafe marshmallow matplotlib msgpack numpy "
    "openpyxl orjson packaging pandas "
    "phonenumbers pydantic pydantic_core pytz requests.structures simple_salesforce.format slack_sdk.models "
    "slugify soupsieve tabulate toml tomli tomllib typing_extensions typing_inspection "
    "tzlocal ujson unidecode xmltodict yaml"
)
_SDK: Final = "ninelives autokitteh"

TABLE: Final[dict[str, Kind]] = {
    **_names("", _COMPUTING, Kind.DIRECT),
    **_names("", _OF_THIS_PROCESS, Kind.DIRECT),
    **_names("", _THIRD_PARTY, Kind.DIRECT),
    **_names("", _SDK, Kind.DIRECT),
    # --- what computes on what it is given
    **_names(
        "builtins",
        "all any bytes bytearray dict enumerate filter frozenset iter list map max min next reversed set "
        "sorted sum tuple zip bytearray.extend dict.update list.extend list.sort set.difference_update "
        "set.intersection_update set.update bytearray.join bytes.join str.join",
        Kind.INSPECT,
    ),
    **_names("collections", "Counter OrderedDict defaultdict deque deque.extend", Kind.INSPECT),
    **_names("csv", "DictReader DictWriter reader writer", Kind.INSPECT),
    **_names("functools", "partial reduce", Kind.INSPECT),
    **_names("heapq", "merge nlargest nsmallest", Kind.INSPECT),
    **_names("itertools", "*", Kind.INSPECT),
    **_names("json", "dump load", Kind.INSPECT),
    **_names("pickle", "Pickler Unpickler dump load", Kind.INSPECT),
    **_names("statistics", "*", Kind.INSPECT),
    **_names("", "more_itertools toolz", Kind.INSPECT),
    **_names("numpy", "fromiter", Kind.INSPECT),
    **_names("yaml", "dump load load_all safe_dump safe_load safe_load_all", Kind.INSPECT),
    **_names("tomllib", "load", Kind.INSPECT),
    # --- what runs a callable later or elsewhere
    **_names("asyncio", "to_thread BaseEventLoop.run_in_executor BaseEventLoop.call_soon", Kind.RUNS),
    **_names("asyncio", "BaseEventLoop.call_later BaseEventLoop.call_at", Kind.RUNS),
    **_names("asyncio.base_events.BaseEventLoop", "run_in_executor call_soon call_later call_at", Kind.RUNS),
    **_names("asyncio.threads", "to_thread", Kind.RUNS),
    **_names("concurrent.futures", "Executor.map ThreadPoolExecutor.submit", Kind.RUNS),
    **_names("concurrent.futures", "Future.add_done_callback", Kind.RUNS),
    **_names("contextvars", "Context.run", Kind.RUNS),
    **_names("operator", "call", Kind.RUNS),
    **_names("threading", "Thread Timer", Kind.RUNS),
    # --- what keeps a callable, or a context, for later
    **_names("atexit", "register", Kind.KEEPS),
    **_names("attr", "_make.attrib _next_gen.field _make.Factory", Kind.KEEPS),
    **_names("contextlib", "_BaseExitStack.callback AsyncExitStack.push_async_callback", Kind.KEEPS),
    **_names("contextlib", "_BaseExitStack.enter_context _BaseExitStack.push", Kind.ENTERS),
    **_names("contextlib", "AsyncExitStack.enter_async_context AsyncExitStack.push_async_exit", Kind.ENTERS),
    **_names("dataclasses", "field", Kind.KEEPS),
    **_names("functools", "cache lru_cache lru_cache.<locals>.decorating_function", Kind.KEEPS),
    **_names("pandas.core.frame.DataFrame", "agg aggregate apply applymap map transform", Kind.KEEPS),
    **_names("pandas.core.generic.NDFrame", "pipe", Kind.KEEPS),
    **_names("pandas.core.groupby.generic", "DataFrameGroupBy.apply SeriesGroupBy.apply", Kind.KEEPS),
    **_names("pandas.core.groupby.groupby.GroupBy", "apply pipe", Kind.KEEPS),
    **_names("pandas.core.series.Series", "agg aggregate apply map transform", Kind.KEEPS),
    **_names("pydantic.fields", "Field PrivateAttr", Kind.KEEPS),
    **_names("sched", "scheduler.enter scheduler.enterabs", Kind.KEEPS),
    **_names("", "backoff retrying tenacity", Kind.KEEPS),
    **_names("weakref", "finalize", Kind.KEEPS),
    # --- clocks
    **_names(
        "time",
        "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time process_time_ns "
        "thread_time thread_time_ns clock_gettime clock_gettime_ns localtime gmtime ctime asctime strftime",
        Kind.CLOCK,
    ),
    **_names("datetime", "datetime.now datetime.utcnow datetime.today date.today", Kind.CLOCK),
    **_names("email.utils", "localtime formatdate", Kind.CLOCK),
    **_names("uuid", "uuid1", Kind.CLOCK),
    **_names("time", "mktime struct_time tzset strptime get_clock_info", Kind.DIRECT),
    **_names("time", "sleep", Kind.SLEEP),
    **_names("asyncio", "sleep", Kind.ASYNC_SLEEP),
    **_names("asyncio.tasks", "sleep", Kind.ASYNC_SLEEP),
    # --- chance
    **_names(
        "random",
        "random uniform triangular randint choice randrange sample shuffle choices normalvariate "
        "lognormvariate expovariate vonmisesvariate gammavariate gauss betavariate binomialvariate "
        "paretovariate "
        "weibullvariate getstate setstate getrandbits randbytes seed Random SystemRandom",
        Kind.CHANCE,
    ),
    **_names("secrets", "choice randbelow randbits token_bytes token_hex token_urlsafe", Kind.CHANCE),
    **_names("secrets", "SystemRandom", Kind.CHANCE),
    **_names("uuid", "uuid4", Kind.CHANCE),
    **_names("os", "urandom getrandom", Kind.CHANCE),
    # --- the environment
    **_names(
        "os", "_Environ getenv putenv unsetenv fspath fsencode fsdecode getcwd chdir umask", Kind.DIRECT
    ),
    **_names("os", "_exit abort strerror", Kind.DIRECT),
    **_names(
        "os.path",
        "abspath basename commonpath commonprefix dirname expanduser expandvars isabs join normcase normpath "
        "relpath split splitdrive splitext splitroot",
        Kind.DIRECT,
    ),
    "pathlib": Kind.DIRECT,
    **_names(
        "pathlib.Path",
        "chmod exists glob group hardlink_to is_block_device is_char_device is_dir is_fifo is_file "
        "is_junction is_mount is_socket is_symlink iterdir lchmod lstat mkdir open owner read_bytes "
        "read_text readlink "
        "rename replace rglob rmdir samefile stat symlink_to touch unlink walk write_bytes write_text",
        Kind.STEP,
    ),
    # --- parts of computing modules that reach out
    **_names("builtins", "input", Kind.STEP),
    **_names("asyncio", "create_subprocess_exec create_subprocess_shell open_connection", Kind.STEP),
    **_names("asyncio", "open_unix_connection start_server start_unix_server", Kind.STEP),
    **_names("asyncio", "subprocess streams", Kind.STEP),
    **_names("asyncio.base_events", "BaseEventLoop.create_connection BaseEventLoop.getaddrinfo", Kind.STEP),
    **_names("bz2", "BZ2File open", Kind.OPENS),
    **_names("codecs", "open", Kind.STEP),
    **_names("configparser", "RawConfigParser.read RawConfigParser.write", Kind.STEP),
    **_names("gzip", "GzipFile open", Kind.OPENS),
    **_names("hashlib", "file_digest", Kind.STEP),
    **_names("http", "client server cookiejar", Kind.STEP),
    **_names("io", "BufferedRandom BufferedReader BufferedWriter TextIOWrapper", Kind.OPENS),
    **_names("lzma", "LZMAFile open", Kind.OPENS),
    **_names("tarfile", "TarFile TarFile.open open", Kind.OPENS),
    **_names("tarfile", "TarFile.extract TarFile.extractall is_tarfile", Kind.STEP),
    **_names("zipfile", "ZipFile PyZipFile is_zipfile", Kind.OPENS),
    **_names("zipfile", "ZipFile.extract ZipFile.extractall", Kind.STEP),
    **_names("lxml", "html.parse etree.parse", Kind.STEP),
    **_names("docx.api", "Document", Kind.OPENS),
    **_names("docx.document", "Document.save", Kind.OPENS),
    **_names("matplotlib", "figure.Figure.savefig pyplot.imread pyplot.imsave pyplot.savefig", Kind.OPENS),
    **_names("matplotlib.pyplot", "show pause", Kind.STEP),
    **_names("numpy", "random", Kind.STEP),
    **_names("numpy", "fromfile genfromtxt load loadtxt ndarray.dump ndarray.tofile", Kind.OPENS),
    **_names("numpy", "save savetxt savez savez_compressed", Kind.OPENS),
    **_names("numpy.lib._npyio_impl", "save savetxt savez savez_compressed", Kind.OPENS),
    **_names("numpy.lib.npyio", "save savetxt savez savez_compressed", Kind.OPENS),
    **_names("openpyxl", "reader.excel.load_workbook workbook.workbook.Workbook.save", Kind.OPENS),
    **_names("PIL.Image", "open Image.save", Kind.OPENS),
    **_names("pandas", "io", Kind.STEP),
    **_names(
        "pandas",
        "read_csv read_excel read_feather read_fwf read_hdf read_html read_json read_orc read_parquet "
        "read_pickle read_sas read_spss read_stata read_table read_xml",
        Kind.OPENS,
    ),
    **_names("pandas", "ExcelFile ExcelWriter HDFStore read_clipboard read_gbq read_iceberg", Kind.STEP),
    **_names("pandas", "read_sql read_sql_query read_sql_table", Kind.STEP),
    **_names(
        "pandas.core.generic.NDFrame",
        "to_clipboard to_csv to_excel to_hdf to_json to_latex to_pickle",
        Kind.OPENS,
    ),
    **_names("pandas.core.generic", "NDFrame.to_sql", Kind.STEP),
    **_names(
        "pandas.core.frame.DataFrame",
        "to_feather to_html to_iceberg to_markdown to_orc to_parquet to_stata to_xml",
        Kind.OPENS,
    ),
    **_names("xml.etree.ElementTree", "ElementTree.parse ElementTree.write iterparse parse", Kind.OPENS),
    **_names("xml", "sax.parse dom.minidom.parse", Kind.STEP),
    # --- statements are built here, and asked elsewhere
    **_names("sqlalchemy", "sql event orm.decl_api orm._orm_constructors orm.strategy_options", Kind.DIRECT),
    **_names("sqlalchemy.engine", "row url", Kind.DIRECT),
    **_names("sqlalchemy.orm", "attributes base interfaces properties relationships util", Kind.DIRECT),
    **_names("sqlalchemy.sql.schema", "MetaData.create_all MetaData.drop_all MetaData.reflect", Kind.STEP),
    **_names("sqlalchemy.sql.schema", "Table.create Table.drop Index.create Index.drop", Kind.STEP),
    **_names("sqlalchemy.sql.schema", "Sequence.create Sequence.drop", Kind.STEP),
    # --- answers that are already here
    **_names(
        "requests.models",
        "Response.json Response.raise_for_status Request PreparedRequest",
        Kind.DIRECT,
    ),
    **_names("requests", "utils cookies auth", Kind.DIRECT),
    **_names(
        "httpx._models",
        "Response.json Response.raise_for_status Headers Cookies Request",
        Kind.DIRECT,
    ),
    **_names("httpx", "_urls _config", Kind.DIRECT),
    **_names(
        "httpx2._models",
        "Response.json Response.raise_for_status Headers Cookies Request",
        Kind.DIRECT,
    ),
    **_names("httpx2", "_urls _config", Kind.DIRECT),
    "http.client.HTTPResponse": Kind.DIRECT,
    "urllib.response": Kind.DIRECT,
}

#: Libraries that try the project's functions again, and read clocks and wait in between: their code is
#: rewritten as the project's is, so that a replay waits no more and gives up where the first run did.
REWRITTEN: Final = frozenset({"backoff", "retrying", "tenacity"})

#: Values of these classes, or of classes in these modules, are made again by the call that made them.
HANDLES: Final = frozenset(
    [
        "aiohttp.client.ClientSession",
        "anthropic",
        "asana",
        "asyncpg.connection",
        "asyncpg.pool",
        "atlassian",
        "auth0",
        "boto3.resources",
        "boto3.session",
        "botocore.client",
        "botocore.session",
        "csv.DictWriter",
        "csv.writer",
        "discord.client",
        "elasticsearch",
        "ftplib",
        "github.MainClass",
        "google.cloud",
        "googleapiclient.discovery",
        "gspread.client",
        "http.client.HTTPConnection",
        "http.client.HTTPSConnection",
        "httpx._client",
        "httpx2._client",
        "hubspot",
        "imaplib",
        "jira.client",
        "kubernetes",
        "linear",
        "mysql.connector.connection",
        "notion_client",
        "openai",
        "paramiko.client",
        "poplib",
        "praw.reddit",
        "psycopg.AsyncConnection",
        "psycopg.Connection",
        "psycopg.connection",
        "psycopg2.extensions.connection",
        "pyairtable",
        "pymongo",
        "pymysql.connections",
        "redis",
        "requests.sessions",
        "requests_toolbelt.sessions",
        "simple_salesforce.api",
        "slack_sdk.web.async_client",
        "slack_sdk.web.base_client",
        "slack_sdk.web.client",
        "smtplib",
        "sqlalchemy.engine.base",
        "sqlalchemy.orm.session",
        "sqlite3.Connection",
        "telegram",
        "twilio.rest",
        "urllib.request.OpenerDirector",
    ]
)

#: Modules of libraries above whose classes are what was answered: to make one again would be to ask again.
ANSWERS: Final = (
    "anthropic.types",
    "asana.models",
    "hubspot.crm",
    "kubernetes.client.models",
    "notion_client.errors",
    "openai.types",
    "pyairtable.models",
    "telegram._message",
)

#: Properties of live values that are recorded with their attributes: reading them asks nobody. Attributes of
#: these names are recorded whatever they are.
SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "aiohttp.client_reqrep.ClientResponse": (
        "_headers",
        "charset",
        "content_type",
        "cookies",
        "headers",
        "history",
        "ok",
        "real_url",
        "url",
    ),
    "asyncio.subprocess.Process": ("pid", "returncode"),
}

#: Files of these classes are made again by the same call where they are only read.
ARCHIVES: Final = frozenset(
    {"gzip.GzipFile", "bz2.BZ2File", "lzma.LZMAFile", "tarfile.TarFile", "zipfile.ZipFile"}
)

#: Contexts that have done nothing before they are entered: until then they are made again by the same call.
CONTEXTS: Final = frozenset(
    {"contextlib._AsyncGeneratorContextManager", "contextlib._GeneratorContextManager"}
)

#: Lost values of these classes need not be closed, or left: that happened when their process ended.
ENDED: Final = frozenset(
    {
        "http.client.HTTPResponse",
        "httpx.Response",
        "httpx2.Response",
        "requests.models.Response",
        "socket.socket",
        "subprocess.Popen",
        "tempfile._TemporaryFileWrapper",
        "urllib3.response.HTTPResponse",
    }
)

#: Connections that begin anew by themselves: what they were in the middle of is known otherwise.
RECONNECTING: Final = frozenset({"http.client.HTTPConnection", "http.client.HTTPSConnection"})

#: What takes items of an iterable only as it is asked for its own: it is given a recorded iterator.
LAZY: Final = frozenset(
    {
        "builtins.enumerate",
        "builtins.filter",
        "builtins.iter",
        "builtins.map",
        "builtins.next",
        "builtins.zip",
    }
    | {"heapq.merge"}
)

#: Modules of which all is so.
_LAZY_MODULES = frozenset({"itertools", "more_itertools", "toolz"})

#: Attributes that tell one object of a class from another, for digests.
HINTS: Final[dict[str, tuple[str, ...]]] = {
    "simple_salesforce.api.SFType": ("name",),
    "googleapiclient.http.HttpRequest": ("method", "uri", "body"),
}


#: What semantics versions changed in `TABLE`: by the first version of the new meaning, what names meant
#: before it; `None` where they were not in the table.
BEFORE: Final[dict[int, Mapping[str, Kind | None]]] = {}


def is_lazy(fn: object) -> bool:
    """Tell whether a function, or class, takes items of what it is given only when it is asked for some."""
    module = getattr(fn, "__module__", None) or ""
    return module.partition(".")[0] in _LAZY_MODULES or f"{module}.{getattr(fn, '__qualname__', '')}" in LAZY


def is_handle(cls: type) -> bool:
    """Tell whether values of a class are made again by the call that made them."""
    return any(_is_listed(base) for base in cls.__mro__[:-1])


def _is_listed(cls: type) -> bool:
    module = ALIASES.get(cls.__module__, cls.__module__)
    if any(module == name or module.startswith(f"{name}.") for name in ANSWERS):
        return False
    name = f"{module}.{cls.__qualname__}"
    while name:
        if name in HANDLES:
            return True
        name = name.rpartition(".")[0]
    return False
