"""The trainer's errors: one root, one subclass for each cause; each survives pickling."""


class TrainerError(Exception):
    """The root of all that the trainer raises by intent."""


class PairsError(TrainerError):
    """A file of pairs or of metadata as a whole can't be taken, or the store can't be trusted."""


class LimitExceeded(PairsError):
    """An import is larger than the settings allow, or one source would have too large a share."""


class HeldOutUnknown(TrainerError):
    """There is no such held-out set, or none was frozen yet."""


class RecipeError(TrainerError):
    """A recipe can't be read, or asks for what can't be done."""


class TrainingError(TrainerError):
    """A run can't begin or go on: no pairs, a checkpoint that can't be trusted."""


class EvaluationError(TrainerError):
    """A model can't be judged on this held-out set, or two not be compared."""


class TrainingInterrupted(TrainingError):
    """A run was told to stop; it can go on from its last checkpoint."""


class PromotionRefused(TrainerError):
    """A version can't become the live one as things are."""


class PruneRefused(TrainerError):
    """What would be removed is not what was agreed to."""


class PushRefused(TrainerError):
    """A version isn't brought elsewhere, and why."""
