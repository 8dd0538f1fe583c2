"""The rules of the closed division as data: one table a benchmark.

A rule names a config key, a relation, the allowed value, why, and its source. Sources: "rules" is MLPerf's
training_rules.adoc of the benchmark's last round; "checker" the compliance checker's files.
"""

from typing import Any, NamedTuple


class Rule(NamedTuple):
    """`key relation allowed`, with the reason and the source that a violation names."""

    key: str
    relation: str
    allowed: Any
    reason: str
    source: str


_V07 = "rules v0.7 (transformer)"
_CHECKER = "checker training_0.7.0/closed_transformer.yaml"
_REFERENCE = "reference retired_benchmarks/transformer/tensorflow/transformer"
_PARAMETERS = f"{_REFERENCE}/model/model_params.py"

_TRANSFORMER = (
    Rule("quality_target", "==", 25.0, "the target is 25.0 BLEU, uncased", _V07),
    Rule("data.source", "==", "wmt", "the data set is WMT17 English-German", f"{_REFERENCE}/../data_download.py"),
    Rule("data.max_sequence_length", ">", 0, "a length limit must be logged", _CHECKER),
    Rule("optimizer.name", "in", ("adam", "lazy_adam"), "the optimizer is Adam or LazyAdam", _V07),
    Rule("optimizer.epsilon", "==", 1e-9, "epsilon is not a free hyperparameter", _CHECKER),
    Rule("optimizer.base_learning_rate", ">", 0.0, "the learning rate is positive", _CHECKER),
    Rule("optimizer.warmup_steps", ">=", 1, "the schedule divides by the warm-up steps", f"{_REFERENCE}/transformer_main.py"),
    Rule("optimizer.beta_1", ">=", 0.0, "beta_1 cannot be negative", _CHECKER),
    Rule("optimizer.beta_2", ">=", 0.0, "beta_2 cannot be negative", _CHECKER),
    Rule("optimizer.average_checkpoints", "==", 0, "the reference averages no checkpoints",
         f"{_REFERENCE}/transformer_main.py"),
    Rule("label_smoothing", "==", 0.1, "the loss is fixed", f"{_REFERENCE}/utils/metrics.py"),
    Rule("model.vocab_size", "==", 33_708, "the published vocabulary is used as it is", _PARAMETERS),
    Rule("data.vocab_target_size", "==", 0, "the published vocabulary is used as it is", _PARAMETERS),
    Rule("submission.status", "in", ("cloud", "onprem", "preview", "research"), "the checker knows no other",
         "checker training_0.7.0/closed_common.yaml"),
    Rule("model.d_model", "==", 1024, "the model is Transformer big", _PARAMETERS),
    Rule("model.ffn_dim", "==", 4096, "the model is Transformer big", _PARAMETERS),
    Rule("model.num_heads", "==", 16, "the model is Transformer big", _PARAMETERS),
    Rule("model.num_layers", "==", 6, "the model is Transformer big", _PARAMETERS),
    Rule("model.dropout_rate", "==", 0.1, "dropout is fixed", _PARAMETERS),
    Rule("evaluation.every_steps", "==", 0, "evaluation is once an epoch", _V07),
    Rule("evaluation.beam_size", "==", 4, "beam search is fixed", _PARAMETERS),
    Rule("evaluation.alpha", "==", 0.6, "beam search is fixed", _PARAMETERS),
    Rule("evaluation.extra_length", "==", 50, "beam search is fixed", _PARAMETERS),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator",
         "rules (Random numbers)"),
    Rule("compute_dtype", "in", ("float32", "bfloat16"), "numerical formats need approval",
         "rules (Numerical formats)"),
)

_V40 = "rules v4.0 (resnet)"
_LARS = "checker training_4.0.0/closed_resnet.yaml"
_TF2 = "reference retired_benchmarks/resnet-tf2"
_RESNET50 = (
    Rule("quality_target", "==", 75.9, "the target is 75.90 % top-1", _V40),
    Rule("data.source", "==", "imagenet", "the data set is ImageNet 2012", _V40),
    Rule("data.expected.train", "==", 1_281_167, "all training images count", _V40),
    Rule("data.expected.eval", "==", 50_000, "all validation images count", _V40),
    Rule("data.image_size", "==", 224, "images keep the reference's size", "rules (Data set)"),
    Rule("data.crop_area", "==", (0.05, 1.0), "the crop is the reference's", f"{_TF2}/imagenet_preprocessing.py"),
    Rule("data.crop_aspect_ratio", "==", (0.75, 1.33), "the crop is the reference's", f"{_TF2}/imagenet_preprocessing.py"),
    Rule("data.flip", "==", True, "images are mirrored at random", f"{_TF2}/imagenet_preprocessing.py"),
    Rule("data.skip_corrupt", "==", False, "no image may be left out", "rules (Data set)"),
    Rule("model.stage_sizes", "==", (3, 4, 6, 3), "the model is ResNet-50 v1.5", f"{_TF2}/resnet_model.py"),
    Rule("model.width", "==", 64, "the model is ResNet-50 v1.5", f"{_TF2}/resnet_model.py"),
    Rule("model.num_classes", "==", 1000, "ImageNet has 1000 classes", f"{_TF2}/resnet_model.py"),
    Rule("model.bn_momentum", "==", 0.9, "batch norm is fixed", f"{_TF2}/resnet_model.py"),
    Rule("model.bn_epsilon", "==", 1e-5, "batch norm is fixed", f"{_TF2}/resnet_model.py"),
    Rule("model.initial_weights", "==", "", "training starts from random weights", "rules (Weight initialization)"),
    Rule("label_smoothing", "in", (0.0, 0.1), "label smoothing is 0 or 0.1", _V40),
    Rule("optimizer.name", "in", ("lars", "sgd"), "the optimizer is LARS or SGD", _LARS),
    Rule("optimizer.schedule", "==", "polynomial", "the rate decays with power 2", _LARS),
    Rule("optimizer.epsilon", "==", 0.0, "LARS has no epsilon", _LARS),
    Rule("optimizer.trust_coefficient", "==", 0.001, "LARS's eta is fixed", f"{_TF2}/lars_optimizer.py"),
    Rule("optimizer.end_learning_rate", "==", 1e-4, "the end of the schedule is fixed", _LARS),
    Rule("optimizer.base_learning_rate", ">", 0.0, "the learning rate is positive", _LARS),
    Rule("optimizer.warmup_epochs", ">=", 0.0, "a warm-up cannot be negative", _LARS),
    Rule("optimizer.weight_decay", "power of two times", 1e-4, "weight decay is 1e-4 * 2^n", _LARS),
    Rule("evaluation.every_epochs", "==", 4, "evaluation is every four epochs", _V40),
    Rule("evaluation.first_epoch", "in", (1, 2, 3, 4), "the offset of the evaluations is at most four epochs", _V40),
    Rule("compute_dtype", "in", ("float32", "bfloat16"), "numerical formats need approval", "rules (Numerical formats)"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
    Rule("submission.status", "in", ("cloud", "onprem", "preview", "research"), "the checker knows no other",
         "checker training_4.0.0/closed_common.yaml"),
)

# Rules that hold under one optimizer only: benchmark -> optimizer.name -> rules.
_SGD = "checker training_3.1.0/closed_resnet_sgd.yaml"
BY_OPTIMIZER = {
    "resnet50": {
        "sgd": (
            Rule("optimizer.momentum", "==", 0.9, "SGD's momentum is fixed", _V40),
            Rule("optimizer.base_learning_rate", "multiple of", 0.001, "SGD's rate is a multiple of 0.001", _SGD),
        ),
    },
}

_TASK_1A = "MLBench, benchmark-tasks.rst, Task 1a"
_MLBENCH = "mlbench-core mlbench_core"
_LOADER = f"{_MLBENCH}/dataset/imagerecognition/pytorch/dataloader.py"
_ALL_REDUCE = "mlbench-benchmarks cifar10-resnet20-all-reduce"
_CIFAR10 = (
    Rule("quality_target", "in", (80.0, 70.0), "the target is 80 % top-1 (light: 70 %)", f"{_MLBENCH}/evaluation/goals.py"),
    Rule("max_epochs", "<=", 164.0, "training ends after 164 epochs", _TASK_1A),
    Rule("label_smoothing", "==", 0.0, "the loss is the plain cross entropy", _TASK_1A),
    Rule("model.name", "==", "resnet", "the model is ResNet-20 v1", _TASK_1A),
    Rule("model.depth", "==", 20, "the model is ResNet-20 v1", _TASK_1A),
    Rule("model.version", "==", 1, "the model is ResNet-20 v1", _TASK_1A),
    Rule("model.width", "==", 16, "the model is ResNet-20 v1", f"{_MLBENCH}/models/pytorch/resnet.py"),
    Rule("model.layout", "==", "mlbench", "the model is MLBench's", f"{_MLBENCH}/models/pytorch/resnet.py"),
    Rule("data.source", "==", "cifar10", "the data set is CIFAR-10", _TASK_1A),
    Rule("data.workers", "power of two times", 1, "1, 2, 4, ... workers", _TASK_1A),
    Rule("data.workers", "<=", 32, "at most 32 workers", _TASK_1A),
    Rule("data.expected.train", "==", 50_000, "all training images count", _TASK_1A),
    Rule("data.expected.eval", "==", 10_000, "all test images count", _TASK_1A),
    Rule("data.batch_size", "==", 128, "each worker takes 128 samples", _TASK_1A),
    Rule("data.drop_last", "==", False, "the last batch counts", f"{_MLBENCH}/dataset/util/pytorch/partition.py"),
    Rule("data.normalisation", "==", "mlbench", "preprocessing is fixed", _LOADER),
    Rule("data.crop_padding", "==", 4, "augmentation is fixed", _LOADER),
    Rule("data.crop_mode", "==", "zero", "augmentation is fixed", _LOADER),
    Rule("data.flip", "==", "random", "augmentation is fixed", _LOADER),
    Rule("optimizer.name", "==", "sgd", "the optimizer is synchronous SGD", _TASK_1A),
    Rule("optimizer.schedule", "==", "plateau", "the rate is halved on plateaus of the validation loss", _TASK_1A),
    Rule("optimizer.base_learning_rate", "==", 0.02, "the rate of one worker is 0.02", _TASK_1A),
    Rule("optimizer.momentum", "==", 0.9, "momentum is 0.9", _TASK_1A),
    Rule("optimizer.weight_decay", "==", 1e-4, "weight decay is 1e-4", f"{_ALL_REDUCE}/main.py"),
    Rule("evaluation.every_epochs", "==", 1.0, "evaluation is once an epoch", f"{_ALL_REDUCE}/main.py"),
    Rule("evaluation.views", "==", "none", "the image itself is evaluated", f"{_ALL_REDUCE}/main.py"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
)

_IMDB = "reference retired_benchmarks/never-adopted/sentiment_analysis"
_IMDB_TRAIN = f"{_IMDB}/paddle/train.py"
_SENTIMENT = (
    Rule("quality_target", "==", 90.6, "accuracy is to be above 90.6 %", f"{_IMDB}/README.md"),
    Rule("data.source", "==", "imdb", "the data set is IMDB's labelled reviews", f"{_IMDB}/README.md"),
    Rule("data.features", "==", "words", "the model reads words", _IMDB_TRAIN),
    Rule("data.vocab_cutoff", "==", 150, "the vocabulary is fixed", _IMDB_TRAIN),
    Rule("data.expected.train", "==", 25_000, "all training reviews count", f"{_IMDB}/README.md"),
    Rule("data.expected.eval", "==", 25_000, "all test reviews count", f"{_IMDB}/README.md"),
    Rule("data.batch_size", "==", 128, "no other batch size has a recipe", _IMDB_TRAIN),
    Rule("model.name", "==", "conv", "the model is the convolution model", _IMDB_TRAIN),
    Rule("model.embedding", "==", 1024, "the model is fixed", _IMDB_TRAIN),
    Rule("model.filters", "==", 1024, "the model is fixed", _IMDB_TRAIN),
    Rule("optimizer.name", "==", "lazy_adam", "Adam with sparse updates of the embedding", _IMDB_TRAIN),
    Rule("optimizer.base_learning_rate", "==", 5e-4, "hyperparameters are the reference's", _IMDB_TRAIN),
    Rule("optimizer.beta_1", "==", 0.9, "hyperparameters are the reference's", _IMDB_TRAIN),
    Rule("optimizer.beta_2", "==", 0.999, "hyperparameters are the reference's", _IMDB_TRAIN),
    Rule("optimizer.epsilon", "==", 1e-8, "hyperparameters are the reference's", _IMDB_TRAIN),
    Rule("evaluation.every_epochs", "==", 1.0, "evaluation is once an epoch", _IMDB_TRAIN),
    Rule("max_epochs", "<=", 100.0, "training ends after 100 passes", _IMDB_TRAIN),
    Rule("compute_dtype", "in", ("float32", "bfloat16"), "numerical formats need approval", "rules (Numerical formats)"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
)

_V05 = "rules v0.5 (recommendation)"
_NCF_REFERENCE = "reference recommendation/pytorch"
_NCF = (
    Rule("quality_target", "==", 0.635, "the target is HR@10 0.635", _V05),
    Rule("data.source", "==", "ml-20m", "the data set is MovieLens-20M", _V05),
    Rule("data.expected.users", "==", 138_493, "all users count", f"{_NCF_REFERENCE}/convert.py"),
    Rule("data.expected.items", "==", 26_744, "all items count", f"{_NCF_REFERENCE}/convert.py"),
    Rule("data.expected.train", "==", 19_861_770, "all ratings but each user's last count", f"{_NCF_REFERENCE}/convert.py"),
    Rule("data.min_ratings", "==", 20, "users with fewer than 20 ratings are left out", f"{_NCF_REFERENCE}/convert.py"),
    Rule("data.ties", "==", "random", "the reference's sort leaves ties in no order", f"{_NCF_REFERENCE}/convert.py"),
    Rule("data.negatives", "==", 4, "each rating has four negatives", _V05),
    Rule("model.factors", "==", 64, "the model is NeuMF with 64 factors", f"{_NCF_REFERENCE}/run_and_time.sh"),
    Rule("model.layers", "==", (256, 256, 128, 64), "the perceptron is fixed", f"{_NCF_REFERENCE}/run_and_time.sh"),
    Rule("model.dropout_rate", "==", 0.0, "the model has no dropout", f"{_NCF_REFERENCE}/neumf.py"),
    Rule("optimizer.name", "in", ("adam", "lazy_adam"), "the optimizer is Adam or LazyAdam", _V05),
    Rule("optimizer.base_learning_rate", ">", 0.0, "the learning rate is positive", _V05),
    Rule("optimizer.weight_decay", "==", 0.0, "the loss has no penalty", f"{_NCF_REFERENCE}/ncf.py"),
    Rule("optimizer.average_checkpoints", "==", 0, "the reference averages no checkpoints", f"{_NCF_REFERENCE}/ncf.py"),
    Rule("evaluation.every_epochs", "==", 1.0, "evaluation is once an epoch", _V05),
    Rule("evaluation.negatives", "==", 999, "each user's test item stands among 999 negatives", _V05),
    Rule("evaluation.top", "==", 10, "the metric is HR@10", _V05),
    Rule("compute_dtype", "in", ("float32", "bfloat16", "float16"), "numerical formats need approval",
         "rules (Numerical formats)"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
)

_V05_GO = "rules v0.5 (reinforcement)"
_GO = "reference reinforcement/tensorflow/minigo"
_NETWORK = ("the network is the reference's", f"{_GO}/dual_net.py")
_GAME = ("the game is Go on 9x9 under area scoring", f"{_GO}/go.py")
_PLAY = ("self-play is the reference's", f"{_GO}/selfplay_mcts.py")
_TREE = ("tree search is the reference's", f"{_GO}/mcts.py")
_TRAINING = ("training is the reference's", f"{_GO}/dual_net.py")
_GATE = ("a new network plays if it wins 55 % of 100 games", f"{_GO}/loop_train_eval.py")
_MINIGO = (
    Rule("quality_target", "==", 0.4, "the target is 40 % of the professional moves", _V05_GO),
    Rule("evaluation.metric", "==", "move_prediction",
         "the closed division here is v0.5's; the later win rate needs MLPerf's own opponent network, which is gone", _V05_GO),
    Rule("data.source", "==", "pro_games", "the quality is measured on the reference's four games", f"{_GO}/benchmark_sgf"),
    Rule("evaluation.readouts", "==", 1000, "the evaluation searches 1000 readouts a position", f"{_GO}/strategies.py"),
    Rule("evaluation.rounds", "==", 2, "the games are predicted twice", f"{_GO}/predict_games.py"),
    Rule("game.board_size", "==", 9, *_GAME),
    Rule("game.komi", "==", 7.5, *_GAME),
    Rule("game.max_moves", "==", 114, *_GAME),
    Rule("game.superko", "==", False, *_GAME),
    Rule("model.planes", "==", "agz", *_NETWORK),
    Rule("model.filters", "==", 32, *_NETWORK),
    Rule("model.blocks", "==", 9, *_NETWORK),
    Rule("model.value_width", "==", 64, *_NETWORK),
    Rule("model.conv_bias", "==", True, *_NETWORK),
    Rule("model.bn_momentum", "==", 0.997, *_NETWORK),
    Rule("model.bn_epsilon", "==", 1e-5, *_NETWORK),
    Rule("model.initial_weights", "==", "", "training starts from random weights", f"{_GO}/loop_init.py"),
    Rule("selfplay.games", "==", 2000, "an iteration plays 2000 games", f"{_GO}/params/final.json"),
    Rule("selfplay.search", "==", "puct", "Gumbel search is another algorithm: open division", _V05_GO),
    Rule("selfplay.puct", "==", "v0.5", *_TREE),
    Rule("selfplay.readouts", "==", 200, *_TREE),
    Rule("selfplay.dirichlet_alpha", "==", 0.03 * 361 / 81, *_TREE),
    Rule("selfplay.noise_weight", "==", 0.25, *_TREE),
    Rule("selfplay.sampled_moves", "==", 7, *_PLAY),
    Rule("selfplay.target_moves", "==", 6, *_PLAY),
    Rule("selfplay.target_exponent", "==", 0.95, *_PLAY),
    Rule("selfplay.resign_threshold", "==", -0.95, *_PLAY),
    Rule("selfplay.resign_disabled", "==", 0.05, *_PLAY),
    Rule("selfplay.holdout", "==", 0.0, *_PLAY),
    Rule("replay.positions", "==", 2_000_000, *_TRAINING),
    Rule("replay.iterations", ">=", 25, "the window must hold its positions where games are short", f"{_GO}/dual_net.py"),
    Rule("replay.kept", "==", 0.05, *_TRAINING),
    Rule("replay.single_pass", "==", False, *_TRAINING),
    Rule("replay.symmetries", "==", False, *_TRAINING),
    Rule("data.batch_size", ">=", 16, "the batch size is free from the reference's on", f"{_GO}/params/final.json"),
    Rule("data.updates", "<=", 6250, "an iteration trains on 100,000 positions at most", f"{_GO}/dual_net.py"),
    Rule("optimizer.name", "==", "sgd", "the optimizer is SGD with momentum", _V05_GO),
    Rule("optimizer.momentum", "==", 0.9, *_TRAINING),
    Rule("optimizer.weight_decay", "==", 1e-4, *_TRAINING),
    Rule("optimizer.decayed", "==", "not_biases", *_TRAINING),
    Rule("optimizer.value_weight", "==", 1.0, *_TRAINING),
    Rule("gating.games", "==", 100, *_GATE),
    Rule("gating.readouts", "==", 200, *_GATE),
    Rule("gating.threshold", "==", 0.55, *_GATE),
    Rule("gating.resign_threshold", "==", -0.9, *_GATE),
    Rule("compute_dtype", "in", ("float32", "bfloat16"), "numerical formats need approval", "rules (Numerical formats)"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
)

_V50 = "rules v5.0 (bert)"
_BERT_REFERENCE = "reference retired_benchmarks/bert"
_BERT_CONFIG = ("the network is BERT-large", f"{_BERT_REFERENCE}/README.md (bert_config.json)")
_BERT_SAMPLES = ("how samples are made of the text is fixed", f"{_BERT_REFERENCE}/cleanup_scripts/create_pretraining_data.py")
_BERT = (
    Rule("quality_target", "==", 0.72, "the target is a masked-LM accuracy of 0.72", _V50),
    Rule("data.source", "in", ("mlperf_text", "mlperf_tfrecord"), "the data set is MLPerf's Wikipedia of 2020/01/01",
         f"{_BERT_REFERENCE}/dataset.md"),
    Rule("data.vocab_target_size", "==", 0, "the published vocabulary is used as it is", f"{_BERT_REFERENCE}/dataset.md"),
    Rule("data.max_sequence_length", "==", 512, *_BERT_SAMPLES),
    Rule("data.max_predictions", "==", 76, *_BERT_SAMPLES),
    Rule("data.masked_lm_prob", "==", 0.15, *_BERT_SAMPLES),
    Rule("data.dupe_factor", "==", 10, *_BERT_SAMPLES),
    Rule("data.short_seq_prob", "==", 0.1, *_BERT_SAMPLES),
    Rule("data.example_seed", "==", 12_345, *_BERT_SAMPLES),
    Rule("data.expected.train", "==", 156_726_829, "all samples count", f"{_BERT_REFERENCE}/dataset.md"),
    Rule("data.expected.eval_predictions", "==", 428_235, "the evaluation set is fixed since v1.0", _V50),
    Rule("data.eval_samples", "==", 10_000, "the evaluation set is 10,000 samples of held-out articles",
         f"{_BERT_REFERENCE}/cleanup_scripts/pick_eval_samples.py"),
    Rule("model.vocab_size", "==", 30_522, *_BERT_CONFIG),
    Rule("model.hidden_size", "==", 1024, *_BERT_CONFIG),
    Rule("model.num_layers", "==", 24, *_BERT_CONFIG),
    Rule("model.num_heads", "==", 16, *_BERT_CONFIG),
    Rule("model.intermediate_size", "==", 4096, *_BERT_CONFIG),
    Rule("model.max_positions", "==", 512, *_BERT_CONFIG),
    Rule("model.type_vocab_size", "==", 2, *_BERT_CONFIG),
    Rule("model.hidden_dropout_rate", "==", 0.1, *_BERT_CONFIG),
    Rule("model.attention_dropout_rate", "==", 0.1, *_BERT_CONFIG),
    Rule("model.initial_weights", "!=", "", "training starts from the published checkpoint", f"{_BERT_REFERENCE}/README.md"),
    Rule("optimizer.name", "==", "lamb", "the optimizer is LAMB", _V50),
    Rule("optimizer.epsilon", "==", 1e-6, "epsilon is that of all reference results",
         "checker rcp_checker/training_5.0.0/rcps_bert.json"),
    Rule("optimizer.clip_norm", "==", 1.0, "gradients are clipped to a global norm of 1", f"{_BERT_REFERENCE}/optimization.py"),
    Rule("optimizer.base_learning_rate", ">", 0.0, "the learning rate is positive", _V50),
    Rule("optimizer.warmup_steps", ">=", 0, "a warm-up cannot be negative", f"{_BERT_REFERENCE}/optimization.py"),
    Rule("evaluation.every_samples", "==", 0, "evaluation is at intervals that follow from the batch size", _V50),
    Rule("evaluation.first_samples", "==", 0, "evaluation starts at the first interval", _V50),
    Rule("compute_dtype", "in", ("float32", "bfloat16", "float16"), "numerical formats need approval",
         "rules (Numerical formats)"),
    Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator", "rules (Random numbers)"),
    Rule("submission.status", "in", ("cloud", "onprem", "preview", "research"), "the checker knows no other",
         "checker training_5.0.0/closed_common.yaml"),
)

CLOSED_RULES: dict[str, tuple[Rule, ...]] = {
    "transformer": _TRANSFORMER, "resnet50": _RESNET50, "cifar10": _CIFAR10, "ncf": _NCF, "sentiment": _SENTIMENT,
    "minigo": _MINIGO, "bert": _BERT}
