"""What people call benchmarks and their quality; logs have short names for the first and none for the second."""

from jax_mlperf.report.drawing.markup import clean

# MLPerf's short name -> (name, what eval_accuracy is).
_NAMES = {
    "resnet": ("ResNet-50", "top-1 accuracy"), "bert": ("BERT", "masked language model accuracy"), "maskrcnn": ("Mask R-CNN", ""),
    "transformer": ("Transformer", "BLEU / 100"), "gnmt": ("GNMT", "BLEU / 100"), "ssd": ("SSD", "mAP"),
    "minigo": ("Minigo", "win rate or predicted moves"), "retinanet": ("RetinaNet", "mAP"),
    "rnnt": ("RNN-T", "word error rate"), "unet3d": ("3D U-Net", "mean Dice score"),
    "ncf": ("NCF", "hit rate at 10"), "sentiment": ("Sentiment", "accuracy"), "deepspeech2": ("DeepSpeech 2", "word error rate"),
    "cifar10": ("CIFAR-10", "top-1 accuracy")}
_METRICS = {"BBOX": "box mAP (BBOX)", "SEGM": "mask mAP (SEGM)"}


def benchmark_name(benchmark: str) -> str:
    """The benchmark as people write it."""
    return _NAMES.get(benchmark, (clean(benchmark, 40), ""))[0]


def metric_name(benchmark: str, metric: str) -> str:
    """A quality as people write it; "quality" where nobody knows more."""
    if metric:
        return _METRICS.get(metric, clean(metric, 40))
    return _NAMES.get(benchmark, ("", ""))[1] or "quality"
