"""Tables and the places that they go to, on pages small enough to be read."""

import pytest

from lvm_mtc.report.pages import channel_name, fill_file, fill_page, number, table, with_interval


def test_a_page_with_other_places_is_refused():
    page = "a\n<!-- table: one -->\nold\n<!-- end -->\nb\n"
    assert fill_page(page, {"one": "| new |"}) == "a\n<!-- table: one -->\n| new |\n<!-- end -->\nb\n"
    for wrong in (page * 2, page.replace("end", "and"), page.replace("one", "two"), "nothing"):
        with pytest.raises(ValueError, match="the page has places for .*the tables are one"):
            fill_page(wrong, {"one": ""})


def test_a_file_keeps_what_it_was_where_its_places_are_others(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- table: one -->\nold\n<!-- end -->\n")
    with pytest.raises(ValueError, match="the page has places for one; the tables are two"):
        fill_file(page, {"two": "new"})
    assert "old" in page.read_text()
    fill_file(page, {"one": "new"})
    assert page.read_text() == "<!-- table: one -->\nnew\n<!-- end -->\n"


def test_a_table_has_a_column_for_each_cell_whatever_it_holds():
    assert table(("a", "b"), [(1, "|h|"), ("x", 0.5)]) == "| a | b |\n| --- | --- |\n| 1 | \\|h\\| |\n| x | 0.5 |"


def test_numbers_are_rounded_and_have_no_negative_zero():
    assert number(-0.004) == "0.00" and number(-0.006) == "-0.01" and number(2.0, 0) == "2"
    assert with_interval((29.096, 0.214, 8)) == "29.10 ± 0.21" and with_interval((0.91234, None), 3) == "0.912"


def test_channels_in_words():
    kinds = ("awgn", "rayleigh", "awgn_bpsk", "tdl_c")
    assert [channel_name(kind) for kind in kinds] == ["AWGN", "Rayleigh", "AWGN BPSK", "TDL C"]
