"""A deploy, from the bundle that somebody sent to the plan that is carried out.

Reading, checking and resolving come first, outside of any transaction; then one unit plans again on what is
there by then, and changes all of it or nothing.
"""

import asyncio
from dataclasses import dataclass

from ninelives_server import log
from ninelives_server.errors import Invalid
from ninelives_server.ids import ProjectId
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.projects import Build, DeployResult
from ninelives_server.projects import bundles, checks, code, find, manifest, plans, requirements
from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.checks import FilterCheck, Surroundings
from ninelives_server.projects.code import Code
from ninelives_server.projects.manifest import AUTOKITTEH, FILE_NAMES, Manifest
from ninelives_server.projects.planning import Plan, Wanted
from ninelives_server.projects.requirements import Resolver
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import builds, connections, projects
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A directory, read.

    Attributes:
        warnings: Of reading it.
    """

    bundle: Bundle
    manifest: Manifest | None
    code: Code
    warnings: tuple[str, ...]


def read(packed: bytes) -> Source:
    """Read a bundle: its files, its manifest, its code.

    Raises:
        Invalid: Something in it is wrong.
        TooLarge: It is too large.
    """
    bundle = bundles.read(packed)
    present = [name for name in FILE_NAMES if name in bundle.files]
    found = None
    warnings: list[str] = []
    if present:
        try:
            text = bundle.files[present[0]].data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Invalid(f"{present[0]}:1: is not UTF-8 text", code="manifest_invalid") from None
        found = manifest.parse(text, present[0])
        warnings = [*found.warnings, *(f"{name} is ignored; there is {present[0]}" for name in present[1:])]
    scanned = code.scan(bundle)
    warnings.extend(checks.warnings(scanned))
    return Source(bundle=bundle, manifest=found, code=scanned, warnings=tuple(warnings))


class Deploys:
    """Carries out deploys."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        registry: Registry,
        filters: FilterCheck,
        resolver: Resolver,
        retention: RetentionSettings,
    ) -> None:
        self._store = store
        self._vault = vault
        self._registry = registry
        self._filters = filters
        self._resolver = resolver
        self._days = retention

    async def deploy(
        self, actor: Actor, *, bundle: bytes, project: str | None, dry_run: bool
    ) -> DeployResult:
        """Deploy a directory; see `service.Projects.deploy`."""
        source = await asyncio.to_thread(read, bundle)
        name = await self._name(actor, source, project)
        there, surroundings = await self._store.read(lambda tx: self._around(tx, actor, name, source))
        if source.manifest is not None:
            checks.check(source.manifest, source.bundle, source.code, surroundings)
        resolved = list(there.requirements) if there else await self._resolve(source)
        wanted = Wanted(
            name=name,
            manifest=source.manifest,
            bundle=source.bundle,
            code=source.code,
            requirements=resolved,
        )
        if dry_run:
            plan = await self._store.read(lambda tx: self._plan(tx, actor, wanted))
        else:
            plan = await self._store.write(lambda tx: self._apply(tx, actor, wanted))
        return self._result(plan, source, there, dry_run=dry_run)

    async def _name(self, actor: Actor, source: Source, given: str | None) -> str:
        """Return the name of the project: as given, by name or id, else the manifest's.

        Raises:
            Invalid: There is no name, or it cannot be used.
            NotFound: It was given as an id that there is not.
        """
        if given is None and source.manifest is None:
            raise Invalid(
                f"the directory has no {' and no '.join(FILE_NAMES)}; `ninelives init NAME` makes a first one"
            )
        if given is None:
            assert source.manifest is not None
            if not source.manifest.name:
                raise Invalid(f"{source.manifest.file}:1: the project has no 'name'; or say --project NAME")
            return source.manifest.name
        return await self._store.read(lambda tx: find.name_of(tx, actor, given))

    def _around(self, tx: Tx, actor: Actor, name: str, source: Source) -> tuple[Build | None, Surroundings]:
        """Return the build of the same content, and what the manifest may refer to."""
        project = projects.by_name(tx, actor.org_id, name)
        mine = None if project is None else project.id
        known = {c.name for c in connections.of_org(tx, actor.org_id) if c.project_id in {None, mine}}
        there = None if mine is None else builds.by_sha256(tx, mine, source.bundle.sha256)
        return there, Surroundings(
            integrations=self._registry.names(),
            connections=known,
            filters=self._filters,
        )

    async def _resolve(self, source: Source) -> list[str]:
        text = requirements.text_of(source.bundle)
        is_autokitteh = source.manifest is not None and source.manifest.file == AUTOKITTEH
        additions = requirements.added(text, source.code, is_autokitteh=is_autokitteh)
        full = requirements.full_text(text, additions)
        return await self._resolver.resolve(full) if full else []

    def _plan(self, tx: Tx, actor: Actor, wanted: Wanted) -> Plan:
        return plans.plan(tx, actor, wanted, self._vault, self._registry, self._days)

    def _apply(self, tx: Tx, actor: Actor, wanted: Wanted) -> Plan:
        projects.lock_org(tx, actor.org_id)
        projects.by_name(tx, actor.org_id, wanted.name, lock=True)
        plan = self._plan(tx, actor, wanted)
        plan.carry_out()
        return plan

    def _result(self, plan: Plan, source: Source, there: Build | None, *, dry_run: bool) -> DeployResult:
        if not dry_run:
            logger.info(
                "project.deployed",
                project_id=plan.project_id,
                build_id=plan.build_id,
                changes=len(plan.actions),
            )
        return DeployResult(
            # What a dry run would make has no id yet.
            project_id=ProjectId("") if dry_run and plan.is_new_project else plan.project_id,
            build_id=None if dry_run and there is None else plan.build_id,
            deployment_id=plan.deployment_id,
            changed=bool(plan.actions),
            actions=tuple(plan.actions),
            warnings=(*source.warnings, *plan.warnings),
        )
