"""The three forms of text, by hand and on real files."""

import pytest

from jax_mlperf.data.articles import article_files, clean, read_articles
from jax_mlperf.errors import UserError


def _read(tmp_path, text):
    path = tmp_path / "text"
    path.write_bytes(text.encode())
    return read_articles(path)


def test_extracted_articles(tmp_path):
    text = ('<doc id="1" url="u" title="Cat">\nCat\n\nCats purr. They sleep.\n\nHistory.\nCats<br> are [[animal|old]].\n\n</doc>\n'
            '<doc id="2" url="u" title="Empty">\nEmpty\n\n</doc>\n<doc id="3" url="u" title="Dog">\nDog\n\nDogs bark.\n</doc>\n')
    assert _read(tmp_path, text) == [["Cats purr.", "They sleep.", "History.", "Cats are old."], ["Dogs bark."]]


def test_wikitext_articles(tmp_path):
    text = (' \n = Cat = \n \n A <unk> is a well @-@ known pet , weighs 0 @.@ 7 kg ( or 1 @,@ 000 g ) . It is " very old . " J. Cat said so . \n'
            ' = = Life = = \n \n = = = Food = = = \n It eats . \n \n = Dog = Wolf ? = \n \n Dogs bark . \n')
    assert _read(tmp_path, text) == [
        ["A is a well-known pet, weighs 0.7 kg (or 1,000 g).", 'It is "very old."', "J. Cat said so.", "It eats."], ["Dogs bark."]]


def test_split_text_is_taken_as_it_is(tmp_path):
    # A line is a sentence whatever it holds, and only "\n" ends it, as in the reference's generator.
    text = "\ufeffOne. Two.\n  three\u2028four \n\n\n\r\nFive [[x]]\r\n \nSix"
    assert _read(tmp_path, text) == [["One. Two.", "three\u2028four"], ["Five [[x]]"], ["Six"]]
    assert _read(tmp_path, "") == []


@pytest.mark.parametrize(("line", "cleaned"), [
    ("a [[b]] [[c|d]] [e] f", "a b d e f"),
    ("[[Category:Cats]] x", ""),
    ("x [[File:cat.jpg|a [[cat]]]] y [[:image:c]]", "x  y "),
    ('x<ref name="a">b</ref> <ref name="c"/>y<BR/> <small>z</small>', "x y z"),
    ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ("E = mc<sup>2</sup>, a<b>c", "E = mc2, a<b>c"),
])
def test_clean(line, cleaned):
    assert clean(line) == cleaned


def test_article_files(tmp_path):
    with pytest.raises(UserError, match="holds no text: put files of articles there"):
        article_files(tmp_path)
    for name in ("b/wiki_01", "b/wiki_00", "a.txt", ".hidden", ".git/x", "c/.d/e"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "empty").touch()
    assert [str(path.relative_to(tmp_path)) for path in article_files(tmp_path)] == ["a.txt", "b/wiki_00", "b/wiki_01"]


def test_unreadable(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none: No such file"):
        read_articles(tmp_path / "none")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="latin is not UTF-8 text: byte 3"):
        read_articles(tmp_path / "latin")


def test_real_files(shared_data):
    wiki, wikitext = shared_data / "bert_wiki" / "wiki_00", shared_data / "wikitext-2" / "valid.txt"
    if not (wiki.exists() and wikitext.exists()):
        pytest.skip("no real text")
    articles = read_articles(wiki)
    assert len(articles) == wiki.read_text().count("<doc ")
    assert articles[0][0].startswith("Anarchism is an anti-authoritarian political and social philosophy")
    assert articles[0][1].startswith("These institutions are often described as stateless societies")
    lines = read_articles(wikitext)
    assert len(lines) == 60  # titles in the file
    assert lines[0][1] == "It is closely related to the American lobster, H. americanus."
    assert not any("<unk>" in line or " @-@ " in line for article in lines for line in article)
