"""The least and the greatest value of the harness's metrics, for those that have them."""

from collections.abc import Mapping

from evomerge.types import Bounds

_SHARE: Bounds = (0.0, 1.0)

BOUNDS: Mapping[str, Bounds] = {
    "acc": _SHARE,
    "acc_norm": _SHARE,
    "acc_bytes": _SHARE,
    "acc_mutual_info": _SHARE,
    "exact_match": _SHARE,
    "f1": _SHARE,
    "pass@1": _SHARE,
    "mcc": (-1.0, 1.0),
    "bleu": (0.0, 100.0),
    "chrf": (0.0, 100.0),
    "ter": (0.0, None),
    "perplexity": (1.0, None),
    "word_perplexity": (1.0, None),
    "byte_perplexity": (1.0, None),
    "bits_per_byte": (0.0, None),
}
