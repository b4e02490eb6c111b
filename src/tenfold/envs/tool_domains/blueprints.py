"""What the domains are about: ten applications of ten categories, three things each, with their states.

A :class:`Thing` has statuses and the steps between them. A step may need that a linked thing is in some status, so that
two state machines depend on each other. :mod:`tenfold.envs.tool_domains.generation` makes tools and records of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """A step of a thing's life.

    Args:
        verb: names the tool, with the thing.
        begins: statuses in which it can be made.
        ends: the status that it leaves.
        needs: statuses of the linked thing, one of which it must be in; empty for any.
    """

    verb: str
    begins: tuple[str, ...]
    ends: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thing:
    """A kind of record.

    Args:
        noun: in the singular.
        plural: its table.
        steps: of its life.
        attributes: column to its allowed values; each can be set, and be searched by.
        names: records are called by two of these words.
        link: the table of another thing, one record of which each record names; empty for none.
    """

    noun: str
    plural: str
    steps: tuple[Step, ...]
    attributes: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    link: str = ""

    @property
    def statuses(self) -> tuple[str, ...]:
        """All of them, in the order in which the steps name them."""
        named = [status for step in self.steps for status in (*step.begins, step.ends)]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class Blueprint:
    """An application.

    Args:
        name: of the domain.
        category: what it is an example of.
        things: of which a link names another one of the same application.
    """

    name: str
    category: str
    things: tuple[Thing, ...] = field(default_factory=tuple)


def _steps(text: str) -> tuple[Step, ...]:
    """``verb: begin, begin > end [needed, needed]``, one a line."""
    steps = []
    for line in text.strip().splitlines():
        verb, _, rest = line.strip().partition(": ")
        begins, _, rest = rest.partition(" > ")
        ends, _, needs = rest.partition(" [")
        needed = tuple(needs.rstrip("]").split(", ")) if needs else ()
        steps.append(Step(verb, tuple(begins.split(", ")), ends, needed))
    return tuple(steps)


_PEOPLE = ("Ada", "Boris", "Chiara", "Dae", "Elif", "Farid", "Greta", "Hana", "Ivo", "Jun", "Kofi", "Lena")
_OBJECTS = (
    "Amber",
    "Birch",
    "Cobalt",
    "Delta",
    "Ember",
    "Fjord",
    "Garnet",
    "Harbor",
    "Iris",
    "Juniper",
    "Kite",
    "Lotus",
)
_ACCOUNT = """
activate: new, suspended > active
suspend: active > suspended
close: active, suspended > closed
"""
_PRIORITY = ("low", "normal", "high")

BLUEPRINTS = (
    Blueprint("shop", "retail", (
        Thing("customer", "customers", _steps(_ACCOUNT),
              {"tier": ("basic", "silver", "gold"), "language": ("English", "Korean", "French")}, _PEOPLE),
        Thing("order", "orders", _steps("""
            confirm: placed > confirmed [active]
            pack: confirmed > packed
            ship: packed > shipped [active]
            cancel: placed, confirmed > cancelled
            reopen: cancelled > placed
        """), {"priority": _PRIORITY, "delivery": ("home", "pickup", "locker")}, _OBJECTS, "customers"),
        Thing("refund", "refunds", _steps("""
            approve: requested > approved [shipped, cancelled]
            reject: requested > rejected
            pay: approved > paid
            reconsider: rejected > requested
        """), {"reason": ("damaged", "late", "unwanted"), "method": ("card", "voucher")}, _OBJECTS, "orders"),
    )),
    Blueprint("library", "public services", (
        Thing("reader", "readers", _steps(_ACCOUNT),
              {"branch": ("north", "south", "center"), "notice_by": ("mail", "text", "letter")}, _PEOPLE),
        Thing("loan", "loans", _steps("""
            issue: reserved > issued [active]
            renew: issued > renewed [active]
            return: issued, renewed, overdue > returned
            remind: issued > overdue
        """), {"desk": ("east", "west"), "period": ("week", "month")}, _OBJECTS, "readers"),
        Thing("repair", "repairs", _steps("""
            accept: reported > accepted [returned]
            begin: accepted > running
            finish: running > finished
            drop: reported, accepted > dropped
        """), {"damage": ("spine", "cover", "pages"), "workshop": ("inside", "outside")}, _OBJECTS, "loans"),
    )),
    Blueprint("clinic", "health", (
        Thing("patient", "patients", _steps("""
            admit: registered, discharged > admitted
            discharge: admitted > discharged
            archive: discharged > archived
        """), {"ward": ("A", "B", "C"), "diet": ("regular", "vegetarian", "liquid")}, _PEOPLE),
        Thing("appointment", "appointments", _steps("""
            confirm: requested > confirmed
            check_in: confirmed > waiting [admitted]
            complete: waiting > completed
            cancel: requested, confirmed > cancelled
        """), {"room": ("101", "102", "201"), "kind": ("first", "control")}, _OBJECTS, "patients"),
        Thing("prescription", "prescriptions", _steps("""
            sign: drafted > signed [waiting, completed]
            dispense: signed > dispensed
            revoke: drafted, signed > revoked
        """), {"form": ("tablet", "syrup"), "repeats": ("none", "one", "three")}, _OBJECTS, "appointments"),
    )),
    Blueprint("hotel", "travel", (
        Thing("room", "rooms", _steps("""
            clean: dirty > ready
            block: ready, dirty > blocked
            unblock: blocked > dirty
        """), {"floor": ("1", "2", "3"), "view": ("sea", "garden", "yard")}, _OBJECTS),
        Thing("booking", "bookings", _steps("""
            confirm: requested > confirmed
            check_in: confirmed > staying [ready]
            check_out: staying > left
            cancel: requested, confirmed > cancelled
        """), {"board": ("none", "breakfast", "full"), "payment": ("card", "cash")}, _PEOPLE, "rooms"),
        Thing("transfer", "transfers", _steps("""
            schedule: wanted > scheduled [confirmed, staying]
            start: scheduled > driving
            end: driving > ended
            drop: wanted, scheduled > dropped
        """), {"vehicle": ("car", "van"), "from_place": ("airport", "station", "port")}, _OBJECTS, "bookings"),
    )),
    Blueprint("bank", "finance", (
        Thing("account", "accounts", _steps("""
            open: applied > open
            freeze: open > frozen
            unfreeze: frozen > open
            close: open > closed
        """), {"plan": ("basic", "plus", "student"), "statement": ("paper", "online")}, _PEOPLE),
        Thing("card", "cards", _steps("""
            activate: issued, locked > active [open]
            lock: active > locked
            replace: locked > issued [open]
            cancel: issued, active, locked > cancelled
        """), {"limit": ("500", "1000", "5000"), "color": ("blue", "black")}, _OBJECTS, "accounts"),
        Thing("dispute", "disputes", _steps("""
            review: filed > reviewing [locked, cancelled]
            grant: reviewing > granted
            deny: reviewing > denied
            withdraw: filed, reviewing > withdrawn
        """), {"cause": ("fraud", "double", "missing"), "channel": ("branch", "phone")}, _OBJECTS, "cards"),
    )),
    Blueprint("fleet", "transport", (
        Thing("vehicle", "vehicles", _steps("""
            inspect: parked > inspected
            service: parked, inspected > serviced
            park: inspected, serviced > parked
        """), {"fuel": ("diesel", "electric", "hybrid"), "depot": ("harbor", "hill")}, _OBJECTS),
        Thing("trip", "trips", _steps("""
            assign: planned > assigned [inspected, serviced]
            depart: assigned > departed
            arrive: departed > arrived
            abort: planned, assigned > aborted
        """), {"load": ("parcels", "pallets"), "urgency": _PRIORITY}, _OBJECTS, "vehicles"),
        Thing("report", "reports", _steps("""
            submit: drafted > submitted [arrived, aborted]
            accept: submitted > accepted
            return: submitted > drafted
        """), {"kind": ("damage", "delay", "routine"), "language": ("English", "German")}, _PEOPLE, "trips"),
    )),
    Blueprint("school", "education", (
        Thing("student", "students", _steps("""
            enroll: applied, paused > enrolled
            pause: enrolled > paused
            graduate: enrolled > graduated
        """), {"year": ("first", "second", "third"), "mode": ("full", "evening")}, _PEOPLE),
        Thing("paper", "papers", _steps("""
            submit: drafted > submitted [enrolled]
            grade: submitted > graded
            publish: graded > published
            withdraw: drafted, submitted > withdrawn
        """), {"topic": ("history", "physics", "music"), "length": ("short", "long")}, _OBJECTS, "students"),
        Thing("appeal", "appeals", _steps("""
            admit: filed > admitted [graded, published]
            uphold: admitted > upheld
            dismiss: filed, admitted > dismissed
        """), {"panel": ("one", "three"), "format": ("oral", "written")}, _OBJECTS, "papers"),
    )),
    Blueprint("helpdesk", "support", (
        Thing("device", "devices", _steps("""
            register: boxed > registered
            retire: registered, broken > retired
            mark: registered > broken
            mend: broken > registered
        """), {"type": ("laptop", "phone", "printer"), "site": ("Seoul", "Oslo", "Lima")}, _OBJECTS),
        Thing("ticket", "tickets", _steps("""
            open: new > open
            hold: open > held
            resume: held > open
            resolve: open > resolved [registered, retired]
            close: resolved > closed
        """), {"priority": _PRIORITY, "queue": ("network", "hardware", "access")}, _PEOPLE, "devices"),
        Thing("survey", "surveys", _steps("""
            send: prepared > sent [resolved, closed]
            record: sent > answered
            void: prepared, sent > void
        """), {"scale": ("five", "ten"), "medium": ("mail", "call")}, _OBJECTS, "tickets"),
    )),
    Blueprint("energy", "utilities", (
        Thing("meter", "meters", _steps("""
            install: stored > installed
            seal: installed > sealed
            remove: installed, sealed > stored
        """), {"phase": ("one", "three"), "maker": ("Aster", "Borea", "Corvo")}, _OBJECTS),
        Thing("contract", "contracts", _steps("""
            sign: offered > signed
            supply: signed, paused > supplied [sealed]
            pause: supplied > paused
            end: supplied, paused > ended
        """), {"tariff": ("day", "night", "green"), "billing": ("monthly", "yearly")}, _PEOPLE, "meters"),
        Thing("invoice", "invoices", _steps("""
            issue: drafted > issued [supplied, ended]
            settle: issued > settled
            void: drafted, issued > void
        """), {"delivery": ("mail", "letter"), "currency": ("EUR", "USD")}, _OBJECTS, "contracts"),
    )),
    Blueprint("studio", "media", (
        Thing("artist", "artists", _steps("""
            sign: invited > signed
            rest: signed > resting
            recall: resting > signed
            release: signed, resting > released
        """), {"genre": ("jazz", "folk", "choir"), "region": ("north", "south")}, _PEOPLE),
        Thing("recording", "recordings", _steps("""
            record: planned > recorded [signed]
            mix: recorded > mixed
            master: mixed > mastered
            scrap: planned, recorded, mixed > scrapped
        """), {"format": ("stereo", "surround"), "studio": ("red", "white")}, _OBJECTS, "artists"),
        Thing("licence", "licences", _steps("""
            grant: asked > granted [mastered]
            extend: granted > extended
            refuse: asked > refused
            end: granted, extended > ended
        """), {"term": ("one year", "five years"), "use": ("film", "radio", "game")}, _OBJECTS, "recordings"),
    )),
)  # fmt: skip
