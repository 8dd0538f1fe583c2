"""ImageNet records in the two usual forms: which features hold the image and its label, read and written."""

from dataclasses import dataclass

from jax_mlperf.data.example import bytes_and_int, encode_example


@dataclass(frozen=True)
class Layout:
    """How one kind of shards is named and what its records hold.

    Attributes:
      pattern: regular expression of the file names: split, number, total.
      image, label: names of the features.
      first_label: the label of class 0.
    """

    name: str
    pattern: str
    image: bytes
    label: bytes
    first_label: int


LAYOUTS = {
    layout.name: layout
    for layout in (
        # `tensorflow/datasets:tensorflow_datasets/datasets/imagenet2012`
        Layout("tfds", r"imagenet2012-(train|validation)\.tfrecord-(\d{5})-of-(\d{5})", b"image", b"label", 0),
        # `tensorflow/tpu:tools/datasets/imagenet_to_gcs.py`
        Layout("classic", r"(train|validation)-(\d{5})-of-(\d{5})", b"image/encoded", b"image/class/label", 1),
    )
}


def image_and_label(record: bytes | memoryview, layout: Layout) -> tuple[bytes, int]:
    """The compressed image and the label as stored.

    Raises:
      ValueError: the record is no such Example; the message says what is wrong with it.
    """
    return bytes_and_int(record, layout.image, layout.label)


def classic_example(image: bytes, label: int, size: tuple[int, int], filename: str, synset: str) -> bytes:
    """A record as `imagenet_to_gcs.py` writes it: label 0.. is stored as 1.., size is (height, width)."""
    layout = LAYOUTS["classic"]
    return encode_example({
        "image/height": size[0], "image/width": size[1], "image/colorspace": b"RGB", "image/channels": 3,
        layout.label.decode(): label + layout.first_label, "image/class/synset": synset.encode(),
        "image/format": b"JPEG", "image/filename": filename.encode(), layout.image.decode(): image,
    })  # fmt: skip
