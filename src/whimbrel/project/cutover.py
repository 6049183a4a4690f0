"""The ``[cutover]`` part of the project file: how writes are closed at the source and opened at DynamoDB, and back."""

from __future__ import annotations

from dataclasses import dataclass, field

from whimbrel.project.password import read_password
from whimbrel.project.section import Section

REVERSE_PASSWORD_VARIABLE = "WHIMBREL_REVERSE_PASSWORD"
JSON_COLUMN = "json:"
TRIGGERS, READ_ONLY_SCHEMA, REVOKE, COMMAND = FENCES = ("triggers", "read-only-schema", "revoke", "command")


@dataclass(frozen=True, slots=True)
class Cutover:
    """Commands are lists of a program and its arguments; docs/cutover.md says what they are told.

    ``fence`` is how writes are closed at the source, one of FENCES. Accounts are written as ``user@host``.
    ``reverse_user`` is the account that only whimbrel's reverse stream uses; without one there is no way back.
    ``new_attributes`` says what happens to an attribute that is not a column: ``stop``, ``ignore`` or ``json:COLUMN``.
    ``ttl`` says it of items that DynamoDB's time to live deleted: ``stop``, ``skip`` or ``apply``.
    """

    fence: str = TRIGGERS
    fence_command: tuple[str, ...] = ()  # of the fence "command": closes and opens
    revoke_from: tuple[str, ...] = ()  # of the fence "revoke": the accounts that lose what they may write
    waived_accounts: tuple[str, ...] = ()  # and those that keep it, as somebody answers for them
    schema: str = ""  # of whimbrel's own tables in the source, instead of the database's
    before: tuple[str, ...] = ()  # makes the application's writers wait, rather than fail
    on_switch: tuple[str, ...] = ()  # called until it succeeds
    on_switch_url: str = ""  # the same, as a POST of JSON
    route_file: str = ""  # the same, as a file that applications read
    route_item: bool = False  # the same, as an item in the table of marks
    lease_seconds: float = 5.0  # an application reads its route again at least this often
    write_seconds: float = 5.0  # the longest that one of its writes to DynamoDB takes, with the SDK's retries
    late_seconds: float = 5.0  # for which a rollback looks for writes at DynamoDB after it opened the source
    max_stall: float = 2.0  # seconds for which nobody may write, at most
    max_lag: float = 5.0  # seconds
    verified_within: float = 24.0  # hours
    reverse_user: str = ""
    reverse_password: str = field(default="", repr=False)
    new_attributes: str = "stop"
    ttl: str = "stop"


def read_cutover(top: Section) -> Cutover:
    """What is wrong goes to the section's faults."""
    section, default = top.section("cutover"), Cutover()
    variable = section.string("reverse_password_env", REVERSE_PASSWORD_VARIABLE)
    cutover = Cutover(
        fence=section.one_of("fence", FENCES),
        fence_command=tuple(section.strings("fence_command")),
        revoke_from=tuple(section.strings("revoke_from")),
        waived_accounts=tuple(section.strings("waived_accounts")),
        schema=section.string("schema", default.schema),
        before=tuple(section.strings("before")),
        on_switch=tuple(section.strings("on_switch")),
        on_switch_url=section.address("on_switch_url"),
        route_file=section.string("route_file", default.route_file),
        route_item=section.flag("route_item", default.route_item),
        lease_seconds=section.number("lease_seconds", default.lease_seconds),
        write_seconds=section.number("write_seconds", default.write_seconds),
        late_seconds=section.number("late_seconds", default.late_seconds),
        max_stall=section.number("max_stall", default.max_stall),
        max_lag=section.number("max_lag", default.max_lag),
        verified_within=section.number("verified_within", default.verified_within),
        reverse_user=section.string("reverse_user", default.reverse_user),
        reverse_password=read_password(section, "reverse_password_file", variable),
        new_attributes=section.string("new_attributes", default.new_attributes),
        ttl=section.one_of("ttl", ("stop", "skip", "apply")),
    )
    _check(section, cutover)
    _check_fence(section, cutover)
    section.finish()
    return cutover


def _check(section: Section, cutover: Cutover) -> None:
    """A setting that would mean nothing as the others are: somebody may rely on it."""
    rule = cutover.new_attributes
    if rule not in ("stop", "ignore") and not (rule.startswith(JSON_COLUMN) and rule != JSON_COLUMN):
        section.fault("new_attributes", f"must be 'stop' or 'ignore' or 'json:COLUMN', not {rule!r}")
    if cutover.on_switch_url and not cutover.on_switch_url.startswith(("http://", "https://")):
        section.fault("on_switch_url", f"must begin with http:// or https://, not {cutover.on_switch_url!r}")
    for key in ("lease_seconds", "max_stall"):
        if not getattr(cutover, key):
            section.fault(key, "must be more than 0")


def _check_fence(section: Section, cutover: Cutover) -> None:
    """Each fence has what it needs, and nothing that belongs to another one."""
    for key, fence, needed in (
        ("fence_command", COMMAND, True),
        ("revoke_from", REVOKE, True),
        ("waived_accounts", REVOKE, False),
        ("schema", READ_ONLY_SCHEMA, True),
    ):
        if getattr(cutover, key):
            if cutover.fence != fence and key != "schema":
                section.fault(key, f"is for fence = {fence!r}, and the fence is {cutover.fence!r}")
        elif needed and cutover.fence == fence:
            section.fault(key, f"is missing: fence = {fence!r} needs it")
    for key in ("revoke_from", "waived_accounts"):
        for account in getattr(cutover, key):
            if not account.rpartition("@")[2]:
                section.fault(key, f"must be user@host, as in mysql.user, not {account!r}")
    if cutover.fence == READ_ONLY_SCHEMA and cutover.reverse_user:
        section.fault("reverse_user", f"nobody can write back while fence = {READ_ONLY_SCHEMA!r} stands: leave it out")
