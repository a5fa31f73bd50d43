"""A tokenizer, seen as the exact bytes of each of its token ids."""

from structgen.vocabulary.vocabulary import Vocabulary

__all__ = ["Vocabulary"]
