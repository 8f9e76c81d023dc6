"""Messages and bytes of summing over processes, against counts made by hand and by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critbatch.errors import UserError
from critbatch.law.allreduce import (
    LINKS,
    OTHER_NAMES,
    Traffic,
    all_reduce_seconds,
    find_link,
    halving_doubling,
    nodes_of,
    ring,
    sync_seconds,
)
from critbatch.law.published_clusters import GOYAL
from critbatch.records.scaling import Algorithm, Constants, Link

LINK = Link(name="test", latency_seconds=1e-5, bytes_per_second=1e9, latency_source="given", bandwidth_source="given")
BYTES = 1_000_000.0
BOTH = (Algorithm.RING, Algorithm.HALVING_DOUBLING)


@pytest.mark.parametrize(("processes", "messages", "share"), [(1, 0, 0.0), (2, 2, 1.0), (3, 4, 4 / 3), (8, 14, 1.75)])
def test_a_ring_passes_each_part_round_twice(processes: int, messages: int, share: float) -> None:
    assert ring(BYTES, processes) == (messages, pytest.approx(share * BYTES))


@pytest.mark.parametrize(
    ("processes", "messages", "share"), [(1, 0, 0.0), (2, 2, 1.0), (4, 4, 1.5), (1024, 20, 2046 / 1024)]
)
def test_halving_and_doubling_takes_two_messages_for_each_doubling(processes: int, messages: int, share: float) -> None:
    assert halving_doubling(BYTES, processes) == ((messages, pytest.approx(share * BYTES)),)


@pytest.mark.parametrize(
    ("processes", "folded", "blocks"),
    [
        # 3 = 2 + 1: the one sends halves to both, two messages and all bytes, before they have met; and back.
        (3, (4, 3.0), (4, 2.0)),
        # 6 = 4 + 2: the two halve once (half the bytes), then each sends its half in two messages.
        (6, (6, 3.5), (6, 2.0)),
        # 44 = 32 + 8 + 4: two halvings (3/4), 2 messages of 1/8, 4 messages of 1/32.
        (44, (12, 2 * 31 / 32 + 2), (16, 2 * (3 / 4 + 1 / 4 + 1 / 8))),
    ],
)
def test_other_numbers_fold_or_form_blocks_of_powers_of_two(
    processes: int, folded: tuple[int, float], blocks: tuple[int, float]
) -> None:
    found = halving_doubling(1.0, processes)
    assert [(way.messages, pytest.approx(way.bytes)) for way in found] == [folded, blocks]


def test_a_ring_of_real_parts_sends_what_is_counted_and_sums_right() -> None:
    for n in (2, 3, 5, 8):
        vectors = [[float(rank + part) for part in range(n)] for rank in range(n)]
        messages = sent = 0
        for turn in range(2 * (n - 1)):
            moving = [(rank, (rank - turn) % n) for rank in range(n)]
            values = [vectors[rank][part] for rank, part in moving]
            for (rank, part), value in zip(moving, values, strict=True):
                after = (rank + 1) % n
                vectors[after][part] = vectors[after][part] + value if turn < n - 1 else value
            messages, sent = messages + 1, sent + 1
        sums = [sum(rank + part for rank in range(n)) for part in range(n)]
        assert all(vector == pytest.approx(sums) for vector in vectors)
        assert ring(float(n), n) == (messages, pytest.approx(float(sent)))


@given(processes=st.integers(2, 4096), size=st.floats(1.0, 1e10))
def test_no_way_sends_less_than_a_vector_must_nor_fewer_messages_than_news_needs(processes: int, size: float) -> None:
    for way in (ring(size, processes), *halving_doubling(size, processes)):
        assert way.bytes >= 2 * (processes - 1) / processes * size * (1 - 1e-12) or processes & (processes - 1)
        assert way.bytes >= size * (1 - 1e-12)
        assert way.messages >= math.ceil(math.log2(processes))


@given(processes=st.integers(1, 4096), size=st.floats(1.0, 1e10))
def test_the_best_is_the_sooner_of_both(processes: int, size: float) -> None:
    took = [all_reduce_seconds(algorithm, size, processes, LINK) for algorithm in BOTH]
    assert all_reduce_seconds(Algorithm.BEST, size, processes, LINK) == min(took)


def test_one_process_has_nothing_to_send_and_none_is_an_error() -> None:
    assert [all_reduce_seconds(algorithm, BYTES, 1, LINK) for algorithm in Algorithm] == [0.0, 0.0, 0.0]
    with pytest.raises(UserError, match="0 devices are not possible"):
        ring(BYTES, 0)


def test_more_all_reduces_of_the_same_bytes_add_messages_only() -> None:
    once, often = (all_reduce_seconds(Algorithm.RING, BYTES, 4, LINK, times=times) for times in (1, 10))
    assert often - once == pytest.approx(9 * 6 * LINK.latency_seconds)


def test_two_levels_are_a_ring_within_nodes_and_a_sum_between_them() -> None:
    inside = replace(LINK, latency_seconds=1e-6, bytes_per_second=1e11)
    constants = Constants(
        gradient_bytes=1_000_000,
        buckets=3,
        devices_per_node=4,
        between=LINK,
        within=inside,
        algorithm=Algorithm.HALVING_DOUBLING,
    )
    within = Traffic(3 * 6, 1.5 * BYTES).seconds(inside)
    assert sync_seconds(constants, 1) == 0
    assert sync_seconds(constants, 3) == pytest.approx(Traffic(3 * 4, 4 / 3 * BYTES).seconds(inside))
    assert sync_seconds(constants, 4) == pytest.approx(within)
    assert sync_seconds(constants, 16) == pytest.approx(within + Traffic(3 * 4, 1.5 * BYTES).seconds(LINK))
    assert [nodes_of(constants, n) for n in (1, 4, 5, 352)] == [1, 1, 2, 88]
    flat = replace(constants, devices_per_node=1, within=None)
    assert sync_seconds(flat, 16, Algorithm.RING) == pytest.approx(Traffic(3 * 30, 1.875 * BYTES).seconds(LINK))


def test_ring_against_halving_and_doubling_is_as_in_goyals_text() -> None:
    """Section 4: both move the same bytes; with 32 servers halving-doubling is up to three times faster."""
    link = GOYAL.constants.between

    def ratio(size: float, processes: int = 32) -> float:
        around, halved = (all_reduce_seconds(algorithm, size, processes, link) for algorithm in BOTH)
        return around / halved

    rounds, halved = ring(BYTES, 32), halving_doubling(BYTES, 32)[0]
    assert (rounds.messages, halved.messages) == (62, 10)
    assert rounds.bytes == pytest.approx(halved.bytes)
    # A gradient tensor of ResNet-50 has 0.63 MB on average, all of them 102 MB.
    tensor = GOYAL.constants.gradient_bytes / GOYAL.constants.buckets
    assert ratio(tensor) == pytest.approx(2.75, abs=0.05)
    assert ratio(GOYAL.constants.gradient_bytes) == pytest.approx(1.02, abs=0.01)
    assert ratio(1.0) == pytest.approx(6.2, abs=0.01)
    assert ratio(tensor, 2) == pytest.approx(1.0)


@pytest.mark.parametrize("link", LINKS.values(), ids=list(LINKS))
def test_every_link_has_a_source_for_both_of_its_numbers(link: Link) -> None:
    assert link.latency_source and link.bandwidth_source
    assert find_link(link.name) == link


def test_links_are_found_by_short_names_and_given_by_numbers() -> None:
    assert {find_link(name).name for name in OTHER_NAMES} == set(OTHER_NAMES.values())
    own = find_link("2e-5,1e9")
    assert (own.latency_seconds, own.bytes_per_second) == (2e-5, 1e9)
    assert find_link("ethernet-25").bytes_per_second * 8 == 25e9


@pytest.mark.parametrize("text", ["token-ring", "1,2,3", "", "1e-5"])
def test_an_unknown_link_lists_those_that_are_known(text: str) -> None:
    with pytest.raises(UserError, match=r"is not known: use nvlink-1.*SECONDS,BYTES_PER_SECOND"):
        find_link(text)


@pytest.mark.parametrize("text", ["-1,1e9", "1e-5,0", "nan,1e9"])
def test_a_link_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not possible: give a latency of 0 or more"):
        find_link(text)
