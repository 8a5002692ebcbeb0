"""All other agencies, by way of doi.org: it knows whose a DOI is, and leads to their records.

https://www.doi.org/the-identifier/resources/factsheets/doi-resolution-documentation,
https://citation.doi.org/docs.html (content negotiation).
"""

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote

from schemas.doi import registrant
from worker.errors import RegistryBlocked, RegistryRefused, RegistryUnavailable
from worker.metadata.answers import Answers
from worker.metadata.registries.bodies import Malformed, parsed
from worker.metadata.registries.client import FIRST_PAUSE_S, MOVED, NO_SUCH, OK, Client
from worker.metadata.registries.identity import known, stranger
from worker.metadata.registries.pacing import Limit, Pace
from worker.metadata.shapes import agency
from worker.settings.metadata import MetadataSettings

MOST = 20
ASKED_THEMSELVES = {"crossref", "datacite"}
CSL_JSON = "application/vnd.citationstyles.csl+json"
PREFIX, RECORD = "prefix", "record"  # the kinds of requests
LIMITS = {PREFIX: Limit(5, 1.0, at_once=1), RECORD: Limit(2, 1.0, at_once=1)}


class AgenciesKept(Protocol):
    """The agency of each prefix that was asked for; it outlives the process."""

    def __contains__(self, prefix: object) -> bool:
        """Whether it was."""

    def __getitem__(self, prefix: str) -> str:
        """The agency's name."""

    def __setitem__(self, prefix: str, agency: str) -> None:
        """Keep it, durably."""


def open_agencies(
    settings: MetadataSettings,
    *,
    mailto: str,
    agencies: AgenciesKept,
    first_pause_s: float = FIRST_PAUSE_S,
) -> "Agencies":
    """The other agencies; `agencies` keeps which one a prefix is of."""
    pace = Pace(threads=1, limits=LIMITS)
    doi_org, others = (
        Client(
            settings.doi_url,
            pace=pace,
            identity=identity,
            timeout_s=settings.timeout_s,
            first_pause_s=first_pause_s,
        )
        for identity in (known(mailto), stranger())
    )
    return Agencies(doi_org, others, agencies=agencies)


class Agencies:
    """A `Registry` of all agencies but Crossref and DataCite, which are asked themselves.

    Who leads on from doi.org may be anybody: an agency, a publisher's page, a server that is gone.
    So what follows there is not told who asks, is tried once, and costs its own DOI only.
    """

    name = "agency"
    most = MOST
    threads = 1

    def __init__(self, doi_org: Client, others: Client, *, agencies: AgenciesKept) -> None:
        self._doi_org = doi_org
        self._others = others
        self._agencies = agencies

    def ask(self, dois: Sequence[str]) -> Answers:
        """What it says of canonical DOIs, as a `Registry`; where it fails, what it said so far."""
        gathered = Answers({}, set())
        whose: dict[str, str | None] = {}
        for doi in dois:
            prefix = registrant(doi)
            try:
                if prefix not in whose:
                    whose[prefix] = self._agency(prefix)
                answers = self._ask_alone(doi, agency_name=whose[prefix])
            except (RegistryBlocked, RegistryRefused, RegistryUnavailable):
                if not gathered.found and not gathered.absent:
                    raise
                break
            gathered.found.update(answers.found)
            gathered.absent.update(answers.absent)
        return gathered

    def close(self) -> None:
        """Let go of connections."""
        self._doi_org.close()
        self._others.close()

    def _ask_alone(self, doi: str, *, agency_name: str | None) -> Answers:
        if agency_name is None or agency_name.lower() in ASKED_THEMSELVES:
            return Answers({}, {doi})
        prefix, _, suffix = doi.partition("/")
        path = f"/{quote(prefix)}/{quote(suffix, safe='')}"
        reply = self._doi_org.get(path, kind=RECORD, accept=CSL_JSON, follow=False, read=_record)
        if reply.status in MOVED:
            return self._led_to(reply.location, doi)
        return _answers(reply.value, doi)

    def _agency(self, prefix: str) -> str | None:
        """The name of a prefix's agency; None for a prefix that doi.org doesn't know."""
        if prefix not in self._agencies:
            reply = self._doi_org.get(f"/ra/{quote(prefix)}", kind=PREFIX, read=_agency_name)
            if reply.status in NO_SUCH:
                raise RegistryUnavailable(f"{self.name}: DOIVEC_METADATA__DOI_URL is no doi.org")
            if reply.status != OK or reply.value is None:
                return None
            self._agencies[prefix] = reply.value
        return self._agencies[prefix]

    def _led_to(self, address: str, doi: str) -> Answers:
        try:
            reply = self._others.get(address, kind=RECORD, accept=CSL_JSON, read=_record, tries=1)
        except RegistryRefused:  # as pages are to programs
            return Answers({}, {doi})
        except (RegistryBlocked, RegistryUnavailable):
            return Answers({}, set())
        return _answers(reply.value, doi)


def _answers(record: Any, doi: str) -> Answers:
    """What a record says of a DOI; it counts where it names the DOI as its own."""
    if isinstance(record, dict):
        names = [record["DOI"]] if "DOI" in record else [record.get("id"), record.get("URL")]
        for name in names:
            answer = agency({**record, "DOI": name})
            if answer is not None and answer.document.doi == doi:
                return Answers({doi: answer}, set())
    return Answers({}, {doi})


def _record(body: bytes) -> Any:
    """A record of CSL-JSON; None for a page, as agencies give that have nothing else."""
    return parsed(body) if body.lstrip()[:1] in {b"{", b"["} else None


def _agency_name(body: bytes) -> str | None:
    """The agency in an answer of doi.org; None where it says that there is none."""
    value = parsed(body)
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict) or not ("RA" in first or "status" in first):
        raise Malformed("without an agency")
    name = first.get("RA")
    return name if isinstance(name, str) and name else None
