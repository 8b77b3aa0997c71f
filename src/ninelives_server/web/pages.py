"""Makes HTML: the template environment, what every page needs, and the headers that every page carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ninelives_server.errors import Unauthenticated
from ninelives_server.model.actors import Actor, Role
from ninelives_server.services import Services
from ninelives_server.settings import Settings
from ninelives_server.web import addresses, flash, formats
from ninelives_server.web.addresses import Addresses


@cache
def environment() -> Environment:
    """Return the template environment: everything is escaped, an unknown name is an error."""
    env = Environment(
        loader=PackageLoader("ninelives_server.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        when=formats.when,
        duration=formats.duration,
        size=formats.size,
        pretty=formats.pretty,
        brief=formats.brief,
        pill=formats.pill,
        tone=formats.tone,
        state_word=formats.state_word,
        facts=formats.facts,
        short_id=formats.short_id,
        breakable=formats.breakable,
        codes=formats.codes,
        iso=formats.iso,
        option=lambda value: (value, value),
        project_option=lambda project: (project.name, project.name),
        trigger_option=lambda trigger: (trigger.id, trigger.name),
    )
    env.globals.update(between=formats.between)
    return env


def headers(settings: Settings, referrer: str) -> dict[str, str]:
    """Return the headers of a page: nothing runs or loads that is not a file of ours.

    `form-action` names the other addresses of this server too, because browsers apply it to the redirect that
    follows a form post, and authorising leads from the pages' address to the callbacks'.
    """
    targets = " ".join(("'self'", *addresses.form_targets(settings)))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action {targets}; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": referrer,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One request for a page, and all that is needed to answer it.

    Attributes:
        visitor: Who is logged in; `None` for nobody. Routes that need somebody ask `actor`.
    """

    request: Request
    services: Services
    visitor: Actor | None

    @property
    def settings(self) -> Settings:
        """Settings of the server."""
        return self.services.settings

    @property
    def at(self) -> Addresses:
        """Makes links for this request."""
        return addresses.of(self.request, self.settings)

    @property
    def actor(self) -> Actor:
        """Who is logged in.

        Raises:
            Unauthenticated: Nobody is.
        """
        if self.visitor is None:
            raise Unauthenticated("nobody is logged in with this browser; run `ninelives login --web`")
        return self.visitor

    @property
    def is_secure(self) -> bool:
        """Whether the browser speaks https."""
        return addresses.is_secure(self.request, self.settings)

    @property
    def may_change(self) -> bool:
        """Whether to show what changes things; the services decide again."""
        return self.visitor is not None and self.visitor.role is not Role.VIEWER

    async def now(self) -> datetime:
        """Return the time as the database has it, as on everything that is shown beside it."""
        return await self.services.store.read(lambda tx: tx.now)

    def fragment(self, template: str, context: Mapping[str, object]) -> str:
        """Render a template, page or part of one."""
        at = self.at
        common = {
            "url": at.url,
            "static": at.static,
            "view": self,
            "path": self.request.url.path,
            "flash": None,
        }
        return environment().get_template(template).render({**common, **context})

    def page(
        self, template: str, *, status: int = 200, referrer: str = "same-origin", **context: object
    ) -> HTMLResponse:
        """Answer with a page."""
        message = flash.read(self.request)
        body = self.fragment(template, {"flash": message, **context})
        answer = HTMLResponse(body, status_code=status, headers=headers(self.settings, referrer))
        if message is not None:
            flash.clear(answer, path=self.at.cookie_path)
        return answer

    def go(self, target: str, *, tone: flash.Tone = "good", message: str = "") -> Response:
        """Answer a form post: go to a page, which shows the message."""
        answer = RedirectResponse(target, status_code=303, headers={"Cache-Control": "no-store"})
        if message:
            flash.put(answer, tone, message, path=self.at.cookie_path, secure=self.is_secure)
        return answer
