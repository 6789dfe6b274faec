"""recbole-aia: what user embeddings give away, and how to stop it without hurting recommendations."""

from recbole_aia import compat

# Before anything of RecBole is imported, and so that a user's own RecBole code works after `import recbole_aia`.
compat.apply()

from recbole_aia.arrays import protect  # noqa: E402
from recbole_aia.config import AIAConfig  # noqa: E402
from recbole_aia.evaluator import AttributeInferenceEvaluator  # noqa: E402
from recbole_aia.hook import AttackHook  # noqa: E402
from recbole_aia.model import UserEmbeddingView, register_view  # noqa: E402
from recbole_aia.quick_start import run_recbole_aia  # noqa: E402
from recbole_aia.runs import load_run  # noqa: E402
from recbole_aia.trainer import AttrCloakUnlearner, CalibratedTrainer, CalibratedUnlearner, RAIDTrainer  # noqa: E402
from recbole_aia.version import __version__  # noqa: E402

__all__ = [
    "AIAConfig",
    "AttrCloakUnlearner",
    "AttackHook",
    "AttributeInferenceEvaluator",
    "CalibratedTrainer",
    "CalibratedUnlearner",
    "RAIDTrainer",
    "UserEmbeddingView",
    "__version__",
    "load_run",
    "protect",
    "register_view",
    "run_recbole_aia",
]
