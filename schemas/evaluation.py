"""What an evaluation says of a model, and what the gate says of two."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A contract: changed by copy only."""

    model_config = ConfigDict(frozen=True)


class Estimate(Frozen):
    """A figure with its 95 % interval from a bootstrap over groups; 0 to 1 unless said."""

    value: float
    low: float
    high: float


class Slice(Frozen):
    """A part of the held-out pairs (`all`, `source:NAME`, `template:TEXT`) and its figures.

    `metrics` has those that the part allows: `roc_auc`, `average_precision`, `spearman`,
    `pearson` where it has both labels; `ndcg@10`, `recall@10`, `mrr` where it has queries.
    """

    name: str
    pairs: int
    positives: int
    groups: int
    queries: int
    metrics: dict[str, Estimate]


class OwnQueries(Frozen):
    """What became of a person's own queries: of those in the `file`, how many were judged.

    Of `unknown` ones, or of what they should find, no title is known; for `unread` ones this model
    has no text. Of the `relevant` DOIs that they should find, `relevant_unknown` are no answers,
    for nothing is known of them. `searched` is among how many documents. `seen` counts the judged
    ones with a DOI that was in the subject's training; None where that isn't known.
    """

    file: str
    queries: int
    judged: int
    unknown: int
    unread: int
    relevant: int
    relevant_unknown: int
    searched: int
    seen: int | None


class EvalReport(Frozen):
    """A model or a baseline on a frozen held-out set.

    `subject` is a version, or `prefix` or `trigrams`; `unread` counts held-out pairs of which
    the model's templates cover one side or none; `corpus` is how many documents there are to
    search, `unsearched` how many of them the templates can't read: for this model no competitors.
    `seen` counts held-out pairs of which a DOI or the group was in the subject's training; None
    where it isn't known what the subject, or what it was made from, was trained on. `own` says
    which of a person's own queries stand in the slice `own queries`, where some were given.
    """

    subject: str
    name: str
    held_out: str
    pairs: int
    unread: int
    seen: int | None
    corpus: int
    slices: tuple[Slice, ...]
    unsearched: int = 0
    own: OwnQueries | None = None

    def metric(self, name: str, part: str = "all") -> Estimate | None:
        """The figure `name` of the slice `part`, where there is one."""
        found = (s.metrics.get(name) for s in self.slices if s.name == part)
        return next(found, None)


class Difference(Frozen):
    """A metric of the challenger minus the champion's, on the same pairs and draws."""

    metric: str
    part: str
    champion: float
    challenger: float
    difference: Estimate
    groups: int


class Corpus(Frozen):
    """What two models searched: of all `documents` those that both read, the `searched` ones.

    What either can't read is no competitor and no answer for either.
    """

    documents: int
    champion_unread: int
    challenger_unread: int
    searched: int

    @property
    def is_same(self) -> bool:
        """Whether both read the same documents."""
        lacking = self.documents - self.searched
        return self.champion_unread == self.challenger_unread == lacking


class Anchor(Frozen):
    """A model that the guards hold against besides the champion, and what changes beside it."""

    subject: str
    name: str
    differences: tuple[Difference, ...]


class Verdict(Frozen):
    """The gate's decision: `reasons` has a sentence for each rule that was looked at."""

    promote: bool
    champion: str
    challenger: str
    held_out: str
    reasons: tuple[str, ...]
    differences: tuple[Difference, ...]
    corpus: Corpus | None = None
    anchors: tuple[Anchor, ...] = ()
