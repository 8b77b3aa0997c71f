"""A deploy, from the bundle that somebody sent to the plan that is carried out.

Reading, checking and resolving come first, outside of any transaction; then one unit plans again on what is
there by then, and changes all of it or nothing.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence

from ninelives_server import log
from ninelives_server.errors import Invalid, TooLarge
from ninelives_server.ids import ProjectId
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.projects import Build, Candidate, DeployResult
from ninelives_server.projects import bundles, checks, find, lint, plans, requirements, sources, variables
from ninelives_server.projects.checks import FilterCheck, Surroundings
from ninelives_server.projects.manifest import AUTOKITTEH
from ninelives_server.projects.planning import Plan, Wanted
from ninelives_server.projects.problems import Finding, Problems
from ninelives_server.projects.requirements import Resolver, Tell
from ninelives_server.projects.sources import Source
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import builds, connections, projects
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)


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
        unreachable: str = "",
    ) -> None:
        """Use what the server knows; `unreachable` says why its webhooks cannot be called from outside."""
        self._store = store
        self._vault = vault
        self._registry = registry
        self._filters = filters
        self._resolver = resolver
        self._days = retention
        self._unreachable = unreachable

    async def deploy(
        self, actor: Actor, *, bundle: bytes, project: str | None, dry_run: bool, tell: Tell
    ) -> DeployResult:
        """Deploy a directory; see `service.Projects.deploy`."""
        problems = Problems()
        source = await asyncio.to_thread(_read, bundle, problems)
        name = await self._name(actor, source, project, problems)
        source, there, around = await self._store.read(lambda tx: self._around(tx, actor, name, source))
        checks.check(source, around, problems)
        problems.stop_if_any()
        resolved = list(there.requirements) if there else await self._resolve(source, tell)
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
        return self._result(plan, problems.warnings, there, dry_run=dry_run)

    async def lint(self, actor: Actor, *, bundle: bytes, project: str | None) -> list[Finding]:
        """Check a directory and change nothing; see `service.Projects.lint`."""
        source = None
        with contextlib.suppress(Invalid, TooLarge):  # what is wrong with it is found again below
            source = await asyncio.to_thread(_read, bundle, Problems())
        manifest_name = "" if source is None or source.manifest is None else source.manifest.name
        given = None if project is None else await self._given(actor, project)
        around = await self._store.read(lambda tx: self._surroundings(tx, actor, given or manifest_name))
        return await asyncio.to_thread(lint.lint, bundle, around, named=given is not None)

    async def candidate(self, actor: Actor, *, bundle: bytes, project: str | None, tell: Tell) -> Candidate:
        """Return what a deploy would put into service; see `service.Projects.candidate`."""
        problems = Problems()
        source = await asyncio.to_thread(_read, bundle, problems)
        name = await self._name(actor, source, project, problems)
        problems.stop_if_any()
        source, there, _ = await self._store.read(lambda tx: self._around(tx, actor, name, source))
        mine = await self._store.read(lambda tx: projects.by_name(tx, actor.org_id, name))
        return Candidate(
            project_id=None if mine is None else mine.id,
            sha256=source.bundle.sha256,
            bundle=await asyncio.to_thread(bundles.pack, source.bundle),
            requirements=tuple(there.requirements if there else await self._resolve(source, tell)),
        )

    async def _name(self, actor: Actor, source: Source, given: str | None, problems: Problems) -> str:
        """Return the name of the project: as given, by name or id, else the manifest's.

        It is empty where there is none; that is one of the problems then, and told with the others.

        Raises:
            Invalid: There is no manifest that can be read and would have a name.
            NotFound: It was given as an id that there is not.
        """
        if given is not None:
            return await self._given(actor, given)
        if source.manifest is None:
            problems.stop_if_any()
            raise Invalid(lint.no_manifest())
        if not source.manifest.name:
            problems.add(source.manifest.file, 1, lint.no_name(), "missing-project-name")
        return source.manifest.name

    async def _given(self, actor: Actor, name: str) -> str:
        return await self._store.read(lambda tx: find.name_of(tx, actor, name))

    def _around(
        self, tx: Tx, actor: Actor, name: str, source: Source
    ) -> tuple[Source, Build | None, Surroundings]:
        """Return the directory, the build of the same content, and what the manifest may refer to."""
        project = projects.by_name(tx, actor.org_id, name)
        there = None if project is None else builds.by_sha256(tx, project.id, source.bundle.sha256)
        if project is not None and there is not None:
            additions = _additions(source)
            if requirements.lacks(there.requirements, additions):
                # An earlier release has made it, which did not know what the code needs: it is built anew.
                marked = bundles.told_apart(source.bundle, "\n".join(additions))
                source = dataclasses.replace(source, bundle=marked)
                there = builds.by_sha256(tx, project.id, marked.sha256)
        return source, there, self._surroundings(tx, actor, name)

    def _surroundings(self, tx: Tx, actor: Actor, name: str) -> Surroundings:
        project = projects.by_name(tx, actor.org_id, name)
        mine = None if project is None else project.id
        there = {} if mine is None else variables.opened(tx, self._vault, mine)
        return Surroundings(
            integrations=self._registry.names(),
            connections={
                c.name for c in connections.of_org(tx, actor.org_id) if c.project_id in {None, mine}
            },
            filters=self._filters,
            now=tx.now,
            values={variable for variable, (_, value) in there.items() if value},
            unreachable=self._unreachable,
        )

    async def _resolve(self, source: Source, tell: Tell) -> list[str]:
        full = requirements.full_text(requirements.text_of(source.bundle), _additions(source))
        return await self._resolver.resolve(full, tell) if full else []

    def _plan(self, tx: Tx, actor: Actor, wanted: Wanted) -> Plan:
        return plans.plan(tx, actor, wanted, self._vault, self._registry, self._days)

    def _apply(self, tx: Tx, actor: Actor, wanted: Wanted) -> Plan:
        projects.lock_org(tx, actor.org_id)
        projects.by_name(tx, actor.org_id, wanted.name, lock=True)
        plan = self._plan(tx, actor, wanted)
        plan.carry_out()
        return plan

    def _result(
        self, plan: Plan, warnings: Sequence[Finding], there: Build | None, *, dry_run: bool
    ) -> DeployResult:
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
            warnings=(*map(str, warnings), *plan.warnings),
        )


def _additions(source: Source) -> list[str]:
    """Return the libraries that the code needs and `requirements.txt` does not name."""
    is_autokitteh = source.manifest is not None and source.manifest.file == AUTOKITTEH
    text = requirements.text_of(source.bundle)
    return requirements.added(text, source.code, is_autokitteh=is_autokitteh)


def _read(packed: bytes, problems: Problems) -> Source:
    return sources.read(bundles.read(packed), problems)
