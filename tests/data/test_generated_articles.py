"""The tiny variant's text: what makes it learnable, and that it never changes."""

from collections import Counter

from jax_mlperf.data import records
from jax_mlperf.data.generated_articles import generate, vocabulary
from jax_mlperf.data.wordpiece import SPECIAL_WORDS, WordPiece, split_words

ARTICLES = generate(600, 1)
SENTENCES = [sentence for article in ARTICLES for sentence in article]
WORDS = [sentence.split() for sentence in SENTENCES]


def test_sizes():
    assert {len(article) for article in ARTICLES} == set(range(6, 11))
    assert {len(words) for words in WORDS} == set(range(6, 11))
    assert len(set(SENTENCES)) > 0.75 * len(SENTENCES)


def test_vocabulary_is_the_texts():
    entries = vocabulary()
    assert len(entries) < 300
    assert set(entries) - set(SPECIAL_WORDS) == {word for words in WORDS for word in words}
    wordpiece = WordPiece(entries)
    assert [wordpiece.words[i] for i in wordpiece.encode(" ".join(SENTENCES))] == split_words(" ".join(SENTENCES))


def test_guessing_one_word_is_no_way_to_learn():
    counts = Counter(word for words in WORDS for word in words)
    assert counts.most_common(1)[0][1] < 0.12 * counts.total()


def test_an_article_keeps_to_its_person():
    towns = {"paris", "london", "cairo", "rome", "oslo", "venice", "athens", "moscow", "delhi", "lima", "berlin", "prague"}
    goods = {"bread": "bakes", "corn": "grows", "trout": "catches", "coal": "digs"}
    for article in ARTICLES:
        words = set(" ".join(article).split())
        assert len(words & towns) <= 1
        assert len({word for word in words if word.endswith("day")}) <= 1
        assert len(words & {"he", "his"}) * len(words & {"she", "her"}) == 0
        for product, verb in goods.items():
            assert verb not in words or product in words


def test_verbs_agree_with_their_number():
    text = " ".join(SENTENCES)
    assert "one dog barks while" in text
    assert "three dogs bark while" in text
    assert "one dogs" not in text
    assert "dogs barks" not in text


def test_another_seed_is_another_text_and_the_same_one_the_same():
    assert generate(3, 1) == ARTICLES[:3]
    assert generate(3, 2) != ARTICLES[:3]
    # Prepared data are recognised by their settings alone: a change of the text must not go unnoticed.
    assert records.fingerprint(generate(50, 1)) == "09f5b684c9ff9b39d8b3b971eacabc2c"
