"""Addresses, sizes and checksums of what can be downloaded: the one table of them.

Sizes and sha256 of the statmt.org archives are those of TensorFlow Datasets
(`tensorflow/datasets:tensorflow_datasets/url_checksums/wmt17_translate.txt`); the md5 values are the
reference's own (`verify_dataset.sh`) or taken from the published files.
"""

from dataclasses import dataclass

STATMT = "https://data.statmt.org"
REFERENCE = (
    "https://raw.githubusercontent.com/mlcommons/training/aa344c7fb900e82ed19fb94aebfed50c63ab2204/"
    "retired_benchmarks/transformer/tensorflow/transformer"
)
MULTI30K = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"


@dataclass(frozen=True)
class File:
    """A file after unpacking; size (bytes) and md5 where they are known, lines (0: not known)."""

    name: str
    size: int = 0
    md5: str = ""
    lines: int = 0


@dataclass(frozen=True)
class Source:
    """One address.

    Attributes:
      url: its last part is the archive's name.
      size: bytes; 0 when not known.
      md5, sha256: "" when not known.
      files: what to take out of it, by base name; the file itself when it is no archive, or is read packed.
    """

    url: str
    files: tuple[File, ...]
    size: int = 0
    md5: str = ""
    sha256: str = ""

    @property
    def name(self) -> str:
        """The archive's name, under which a mirror serves it."""
        return self.url.rsplit("/", 1)[-1]


def _parallel(stem: str, lines: int = 0) -> tuple[File, ...]:
    return tuple(File(f"{stem}.{language}", lines=lines) for language in ("en", "de"))


def _multi30k(split: str, lines: int, english_md5: str, german_md5: str) -> tuple[Source, ...]:
    return tuple(
        Source(f"{MULTI30K}/{split}.{language}.gz", (File(f"{split}.{language}", lines=lines),), md5=md5)
        for language, md5 in (("en", english_md5), ("de", german_md5))
    )


TRANSFORMER: dict[str, tuple[Source, ...]] = {
    # The reference asks www.statmt.org and data.statmt.org by http; both serve https.
    "wmt": (
        Source(
            f"{STATMT}/wmt17/translation-task/training-parallel-nc-v12.tgz",
            _parallel("news-commentary-v12.de-en", 270_769),
            size=168_591_139,
            sha256="2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2",
        ),
        Source(
            "https://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz",
            _parallel("commoncrawl.de-en", 2_399_123),
            size=918_311_367,
            sha256="c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
        ),
        Source(
            "https://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz",
            _parallel("europarl-v7.de-en", 1_920_209),
            size=657_632_379,
            sha256="0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
        ),
        # Part of the reference's data set; nothing here reads it.
        Source(f"{STATMT}/wmt17/translation-task/dev.tgz", _parallel("newstest2013", 3_000)),
        Source(
            "https://storage.googleapis.com/tf-perf-public/official_transformer/test_data/newstest2014.tgz",
            (
                File("newstest2014.en", 359_898, "dabf51a9c02b2235632f3cee75c72d49", 3_003),
                File("newstest2014.de", 399_406, "f6c3818b477e4a25cad68b61cc883c17", 3_003),
            ),
        ),
        Source(
            f"{REFERENCE}/vocab/vocab.translate_ende_wmt32k.32768.subwords",
            (
                File(
                    "vocab.translate_ende_wmt32k.32768.subwords",
                    324_027,
                    "0067c33184fa284ef6dc422dffcf8088",
                    33_708,
                ),
            ),
            size=324_027,
            md5="0067c33184fa284ef6dc422dffcf8088",
        ),
    ),
    "multi30k": (
        *_multi30k("train", 29_000, "0065d13af80720a55ca8153d126e6627", "81ff90b99829c0cd4b1b587d394afd39"),
        *_multi30k("val", 1_014, "2b69aa9253948ac9f67e94917272dd40", "6e0e229eb049e3fc99a1ef02fb2d5f91"),
        *_multi30k(
            "test_2016_flickr", 1_000, "ff2c0fcb4893a13bd73414306bc250ae", "efd67d314d98489b716b145475101932"
        ),
        *_multi30k(
            "test_2017_flickr", 1_000, "005396bac545d880abe6f00bbb7dbbb4", "6a8d5c87f6ae19e3d35681aa6fd16571"
        ),
        *_multi30k(
            "test_2017_mscoco", 461, "a7b684e0edbef1d4a23660c8e8e743fd", "e8cd6ec2bc8a11fc846fa48a46e3d0bb"
        ),
        *_multi30k(
            "test_2018_flickr", 1_071, "a152878809942757a55ce087073486b8", "87e00327083dd69feaa029a8f7c1a047"
        ),
    ),
}

# image-net.org, account needed. Sizes and checksums: `pytorch/vision:torchvision/datasets/imagenet.py`,
# `tensorflow/datasets:tensorflow_datasets/datasets/imagenet2012/checksums.tsv`.
IMAGENET = (
    Source(
        "https://image-net.org/data/ILSVRC/2012/ILSVRC2012_img_train.tar",
        (),
        size=147_897_477_120,
        md5="1d675b47d978889d74fa0da5fadfb00e",
        sha256="b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
    ),
    Source(
        "https://image-net.org/data/ILSVRC/2012/ILSVRC2012_img_val.tar",
        (),
        size=6_744_924_160,
        md5="29b22e2961454d5413ddabcf34fc5622",
        sha256="c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
    ),
    # Holds the labels of the validation images.
    Source(
        "https://image-net.org/data/ILSVRC/2012/ILSVRC2012_devkit_t12.tar.gz",
        (),
        md5="fa75699e90414af021442c21a62c3abf",
    ),
)
IMAGENET_SAMPLES = {"train": 1_281_167, "validation": 50_000}

# `tensorflow/datasets:tensorflow_datasets/url_checksums/cifar10.txt`; a file is 10,000 records of 3,073 bytes.
CIFAR10 = (
    Source(
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        tuple(File(f"{name}.bin", 30_730_000) for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")),
        size=170_052_171,
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
)
# The members of cifar-10-python.tar.gz: `pytorch/vision:torchvision/datasets/cifar.py`.
CIFAR10_PICKLES = (
    File("data_batch_1", md5="c99cafc152244af753f735de768cd75f"),
    File("data_batch_2", md5="d4bba439e000b95fd0a9bffe97cbabec"),
    File("data_batch_3", md5="54ebc095f3ab1f0389bbae665268c751"),
    File("data_batch_4", md5="634d18415352ddfa80567beed471001a"),
    File("data_batch_5", md5="482c414d41f54cd18b22e5b47cb7c3cb"),
    File("test_batch", md5="40351d587109b95175f43aff81a1287e"),
)
# md5: `mlcommons/training:retired_benchmarks/never-adopted/sentiment_analysis/verify.py`. Read packed: it holds 100,000 files.
IMDB = (
    Source(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        (File("aclImdb_v1.tar.gz", md5="7c2ac02c03563afcf9b574c7e56c153a"),),
        md5="7c2ac02c03563afcf9b574c7e56c153a",
    ),
)

# md5: the reference's download scripts and GroupLens' own .md5 files; sizes and sha256:
# `tensorflow/datasets:tensorflow_datasets/url_checksums/movielens.txt`. Lines are ratings (and ratings.csv's header).
GROUPLENS = "https://files.grouplens.org/datasets/movielens"
MOVIELENS = {
    "ml-20m": Source(
        f"{GROUPLENS}/ml-20m.zip",
        (File("ratings.csv", lines=20_000_264),),
        size=198_702_078,
        md5="cd245b17a1ae2cc31bb14903e1204af3",
        sha256="96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
    "ml-1m": Source(
        f"{GROUPLENS}/ml-1m.zip",
        (File("ratings.dat", lines=1_000_209),),
        size=5_917_549,
        md5="c4d9eecfca2ab87c1945afe126590906",
        sha256="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "ml-100k": Source(
        f"{GROUPLENS}/ml-100k.zip",
        (File("u.data", size=1_979_173, lines=100_000),),
        size=4_924_029,
        md5="0e33842e24a9c977be4e0107933c0723",
        sha256="50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    ),
}

# The evaluation games of MLPerf v0.5's minigo (Apache-2.0), in the order of the reference's `loop_train_eval.py`; the reference
# itself has deleted them. md5 and sha256: of the published files.
_MINIGO_GAMES = ("https://raw.githubusercontent.com/mlcommons/training_results_v0.5/c71f2e7c4b11ec7ab89eb4d8ceaadaae8529fff7/"
                 "v0.5.0/intel/intel_minigo_submission_public_tensorflow/code/minigo/tensorflow/minigo/benchmark_sgf")
PRO_GAMES = tuple(
    Source(f"{_MINIGO_GAMES}/9x9_pro_{name}.sgf", (File(f"9x9_pro_{name}.sgf", size=size, md5=md5),), size=size, sha256=sha256)
    for name, size, md5, sha256 in (
        ("YKSH", 378, "342ca9030b8dd3081dd35353d124716f", "5cb52058e21284b7b0306f29462b9ca09d4da729c7eebf25b88ce9291fbcb571"),
        ("IYMD", 498, "36ad7684b497b1128187ff2f57dbe43e", "654fd67a1cfc0ed7278eed8e766ba8b90b232f418173523c26dc7efffdb7adc9"),
        ("YSIY", 408, "8e0b9b712b899ecce737d940e27a6f1b", "80077ea05c80f8f21208a1dc7bfc563753344ece65ea43fbb9e20a2d6cd09965"),
        ("IYHN", 306, "5cc6d8ac4131d081f19813ce3daed78f", "486a6c67885354dfa31bcc16fc4a17e83ada40b9fd43600b4245b04e3df09314"),
    ))

# BERT's published files (`mlcommons/training:retired_benchmarks/bert/README.md`), which its own downloader brings in two bundles.
BERT_DOWNLOADER = "https://raw.githubusercontent.com/mlcommons/r2-downloader/refs/heads/main/mlc-r2-downloader.sh"
BERT_INPUTS = "https://training.mlcommons-storage.org/metadata/bert-input-files.uri"
BERT_TEXT = "https://training.mlcommons-storage.org/metadata/bert-preprocessed-wikipedia-dataset.uri"
BERT_VOCABULARY = File("vocab.txt", 231_508, "64800d5d8528ce344256daf115d4965e", 30_522)
BERT_CHECKPOINT = (
    File("tf1_ckpt/model.ckpt-28252.index", 17_371, "f97de3ae180eb8d479555c939d50d048"),
    File("tf1_ckpt/model.ckpt-28252.data-00000-of-00001", 4_034_713_312, "50797acd537880bfb5a7ade80d976129"),
)
# Published beside the others; nothing here reads them.
BERT_UNREAD = (
    File("bert_config.json", 314, "7f59165e21b7d566db610ff6756c926b"),
    File("tf1_ckpt/model.ckpt-28252.meta", 24_740_228, "dbd16c731e8a8113bc08eeed0326b8e7"),
    File("results/eval.md5", 330_000, "71a58382a68947e93e88aa0d42431b6c", 10_000),
)
BERT_EVALUATION = File("results/eval.txt", 32_851_144, "2a220f790517261547b1b45ed3ada07a")
BERT_PARTS = {
    file.name: file
    for file in (
        File("part-00000-of-00500", 27_150_902, "a64a7c31eff5cd38ae6d94f7a6229dab"),
        File("part-00001-of-00500", 27_198_569, "549a9ed4f805257245bec936563abfd0"),
        File("part-00002-of-00500", 27_395_616, "1a1366ddfc03aef9d41ce552ee247abf"),
        File("part-00497-of-00500", 24_775_043, "66835aa75d4855f2e678e8f3d73812e9"),
        File("part-00498-of-00500", 24_575_505, "e6d68a7632e9f4aa1a94128cce556dc9"),
        File("part-00499-of-00500", 21_873_644, "b3b087ad24e3770d879a351664cebc5a"),
    )
}
BERT_RECORD_BYTES = {"eval_10k": 25_382_591, "part-00000-of-00500": 514_241_279, "part-00499-of-00500": 898_392_312}
BERT_ALL_RECORD_BYTES = 391_434_110_129  # of the 500 parts together
