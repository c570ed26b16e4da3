"""Words of a command line reach Hydra as they were typed."""

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kd_lab.composition import readable


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(st.text("ab\\'\"=#[ é\n", max_size=8))
@example("\\\\\n")
@example("it's=\\")
def test_a_value_with_signs_of_the_grammar_is_read_as_it_stands(text: str) -> None:
    for value in (f"a={text}", f"\\\\server\\{text}"):  # an equals sign is no value of the grammar's
        (word,) = readable([f"data.path={value}"])
        assert OverridesParser.create().parse_override(word).value() == value
