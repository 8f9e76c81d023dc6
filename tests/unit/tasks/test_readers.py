"""Readers give what a file says, or one sentence that says why not."""

from __future__ import annotations

import gzip
import math
import pickle
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from critbatch.errors import UserError
from critbatch.tasks.datasets import read_characters, read_cifar10, read_cifar100, read_idx, read_text


def idx_bytes(array: np.ndarray, *, kind: int = 0x08) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def written(folder: Path, data: bytes, name: str = "images-idx3-ubyte") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


IMAGES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
PIXELS = (np.arange(2 * 3072) % 251).astype(np.uint8).reshape(2, 3072)
RECORDS = np.concatenate([np.array([[3], [9]], np.uint8), PIXELS], axis=1)
RECORDS_100 = np.concatenate([np.array([[19, 99], [0, 42]], np.uint8), PIXELS], axis=1)


@settings(max_examples=30, deadline=None)
@given(
    array=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)),
    packed=st.booleans(),
)
def test_an_idx_file_gives_back_the_array_it_was_made_of(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, packed: bool
) -> None:
    data = idx_bytes(array)
    path = written(tmp_path_factory.mktemp("idx"), gzip.compress(data) if packed else data)
    found = read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


def test_a_gzip_file_that_a_browser_unpacked_is_read_under_its_old_name(tmp_path: Path) -> None:
    path = written(tmp_path, idx_bytes(IMAGES), "images-idx3-ubyte.gz")
    np.testing.assert_array_equal(read_idx(path, (4, 5)), IMAGES)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(idx_bytes(IMAGES)) - 1), packed=st.booleans())
def test_an_idx_file_cut_anywhere_is_refused_in_a_sentence_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, packed: bool
) -> None:
    data = idx_bytes(IMAGES)[:cut]
    path = written(tmp_path_factory.mktemp("idx"), gzip.compress(data) if packed else data)
    with pytest.raises(UserError, match="images-idx3-ubyte") as caught:
        read_idx(path, (4, 5))
    assert "\n" not in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_gzip_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = gzip.compress(idx_bytes(IMAGES))
    path = written(tmp_path_factory.mktemp("idx"), whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(UserError, match="images-idx3-ubyte"):
        read_idx(path, (4, 5))


@settings(max_examples=100, deadline=None)
@given(noise=st.binary(max_size=80))
def test_a_file_of_noise_is_an_array_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = written(tmp_path_factory.mktemp("noise"), noise)
    for read in (read_idx, read_cifar10, read_cifar100, read_characters, read_text):
        try:
            assert read(path) is not None
        except UserError as error:
            sentence = str(error)
        else:
            continue
        assert str(path) in sentence


IDX_FAULTS: dict[str, tuple[bytes, str]] = {
    "truncated": (idx_bytes(IMAGES)[:-1], r"should hold 3 x 4 x 5 = 60 bytes of data but ends after 59"),
    "one byte too many": (idx_bytes(IMAGES) + b"\0", r"60 bytes of data but has more"),
    "another magic": (b"\x89PNG" + bytes(80), r"no IDX file: it begins with 89 50 4e 47"),
    "empty": (b"", r"no IDX file: it begins with nothing"),
    "floats": (idx_bytes(IMAGES, kind=0x0D), r"holds float32: only IDX files of uint8"),
    "labels for images": (idx_bytes(np.arange(9, dtype=np.uint8)), r"has the shape 9, but n x 4 x 5 is wanted"),
    "other images": (idx_bytes(IMAGES.reshape(3, 5, 4)), r"has the shape 3 x 5 x 4, but n x 4 x 5 is wanted"),
    "a header alone": (idx_bytes(IMAGES)[:9], r"ends within its header, after 9 bytes"),
    "a header that lies": (struct.pack(">4B3I", 0, 0, 8, 3, 10**7, 4, 5), r"200,000,000 bytes of data but ends"),
    "of 255 dimensions": (
        bytes([0, 0, 8, 255]) + struct.pack(">255I", *[1] * 255) + b"7",
        r"255 dimensions: an IDX file",
    ),
    "of 2^32 images of no size": (struct.pack(">4B4I", 0, 0, 8, 4, 0, *[2**32 - 1] * 3), r"says that it holds 0 x 429"),
    "larger than memory": (struct.pack(">4B3I", 0, 0, 8, 3, 2**32 - 1, 4, 5), r"4294967295 x 4 x 5 bytes: up to 268"),
    "gzip cut short": (gzip.compress(idx_bytes(IMAGES))[:-9], r"bytes\) is a broken gzip file"),
    "gzip with a wrong sum": (
        gzip.compress(idx_bytes(IMAGES))[:-8] + b"\1\2\3\4" + gzip.compress(idx_bytes(IMAGES))[-4:],
        r"is a broken gzip file \(CRC check failed",
    ),
}


@pytest.mark.parametrize(("data", "sentence"), IDX_FAULTS.values(), ids=list(IDX_FAULTS))
def test_a_faulty_idx_file_is_refused_with_what_was_found(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_idx(written(tmp_path, data), None if "0 x" in sentence or "dimensions" in sentence else (4, 5))


def test_a_gzip_file_of_two_megabytes_that_unpacks_to_two_gibibytes_is_read_no_further_than_its_header_says(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bomb.gz"
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(struct.pack(">4B3I", 0, 0, 8, 3, 100, 28, 28)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 24)) + packer.flush(zlib.Z_FULL_FLUSH)
    path.write_bytes(head + 128 * zeros)  # after a full flush a block depends on nothing before it
    assert path.stat().st_size < 3_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"should hold 100 x 28 x 28 = 78,400 bytes of data but has more"):
        read_idx(path, (28, 28))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize("read", [read_idx, read_cifar10, read_cifar100, read_characters, read_text])
def test_a_device_without_an_end_and_a_name_that_cannot_be_are_refused(read: Callable[[Path], object]) -> None:
    with pytest.raises(
        UserError, match=r"/dev/zero cannot be read \(it is a device or a pipe\): give the path of a file"
    ):
        read(Path("/dev/zero"))
    for name in ("a\0b", "n" * 300, "\ud800"):
        with pytest.raises(UserError, match=r"cannot be read \("):
            read(Path(name))


@pytest.mark.parametrize("read", [read_idx, read_cifar10, read_cifar100, read_characters, read_text])
def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(UserError, match=r"nowhere cannot be read \(No such file or directory\)"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read(tmp_path)


def test_a_cifar_file_gives_its_images_by_channel_and_its_labels(tmp_path: Path) -> None:
    images, labels = read_cifar10(written(tmp_path, RECORDS.tobytes()), examples=2)
    assert labels.tolist() == [3, 9]
    np.testing.assert_array_equal(images, RECORDS[:, 1:].reshape(2, 3, 32, 32))


def test_a_cifar_file_of_another_length_is_refused_with_its_size(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS.tobytes()[:-1], "data_batch_1.bin")
    with pytest.raises(UserError, match=r"data_batch_1.bin has 6,145 bytes, which are not whole records of 3,073"):
        read_cifar10(path)
    path = written(tmp_path, RECORDS.tobytes(), "data_batch_1.bin")
    with pytest.raises(UserError, match=r"has 6,146 bytes, which are not 10,000 records of 3,073"):
        read_cifar10(path, examples=10_000)
    with pytest.raises(UserError, match=r"has 0 bytes"):
        read_cifar10(written(tmp_path, b""))


def test_a_cifar_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    wrong = RECORDS.copy()
    wrong[1, 0] = 10
    with pytest.raises(UserError, match="has the label 10 in record 1, where 0 to 9 belong"):
        read_cifar10(written(tmp_path, wrong.tobytes()))


def test_a_cifar_100_file_gives_its_images_and_its_fine_labels(tmp_path: Path) -> None:
    images, labels = read_cifar100(written(tmp_path, RECORDS_100.tobytes(), "train.bin"), examples=2)
    assert labels.tolist() == [99, 42]
    np.testing.assert_array_equal(images, PIXELS.reshape(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("place", "label", "sentence"),
    [(0, 20, "the coarse label 20 in record 1, where 0 to 19"), (1, 100, "the fine label 100 in record 1, where 0 to")],
)
def test_a_cifar_100_label_that_is_no_class_is_refused(tmp_path: Path, place: int, label: int, sentence: str) -> None:
    wrong = RECORDS_100.copy()
    wrong[1, place] = label
    with pytest.raises(UserError, match=sentence):
        read_cifar100(written(tmp_path, wrong.tobytes(), "train.bin"))


def test_a_file_of_the_other_cifar_is_refused_by_its_length(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 6,146 bytes, which are not whole records of 3,074: .* CIFAR-100"):
        read_cifar100(written(tmp_path, RECORDS.tobytes(), "data_batch_1.bin"))
    with pytest.raises(UserError, match=r"has 6,148 bytes, which are not whole records of 3,073: .* CIFAR-10's"):
        read_cifar10(written(tmp_path, RECORDS_100.tobytes(), "train.bin"))


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return pytest.fail, ("a pickle was loaded",)


def test_a_pickle_is_named_as_one_and_never_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, pickle.dumps(Bomb()), "data_batch_1")
    with pytest.raises(UserError, match="seems to be a Python pickle, which is never loaded"):
        read_cifar10(path)


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1, max_size=200))
def test_characters_are_numbers_that_spell_the_text(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = written(tmp_path_factory.mktemp("text"), text.encode())
    ids, vocabulary = read_characters(path)
    assert "".join(vocabulary[number] for number in ids) == text
    assert list(vocabulary) == sorted(set(text))
    assert ids.dtype == np.uint8


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no UTF-8 text: byte 2 is ff"):
        read_characters(written(tmp_path, b"ab\xff"))
    with pytest.raises(UserError, match="is empty"):
        read_characters(written(tmp_path, b""))
    with pytest.raises(UserError, match="has 300 different characters: a text with up to 256"):
        read_characters(written(tmp_path, "".join(map(chr, range(1000, 1300))).encode()))


def moments(pixels: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of bytes, from whole sums: floats of a whole data set would take gigabytes."""
    mean = int(pixels.sum(dtype=np.uint64)) / pixels.size
    mean_square = int(np.square(pixels, dtype=np.uint16).sum(dtype=np.uint64)) / pixels.size
    return mean, math.sqrt(mean_square - mean**2)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "mean", "std", "balanced"),
    [("mnist", 0.13066, 0.30811, False), ("fashion-mnist", 0.28604, 0.35302, True)],
)
def test_the_published_idx_files_have_the_known_counts_and_moments(
    real_data: Callable[[str], Path], name: str, mean: float, std: float, balanced: bool
) -> None:
    folder = real_data(name)
    images = read_idx(next(folder.glob("train-images*")), (28, 28))
    labels = read_idx(next(folder.glob("train-labels*")), ())
    assert images.shape == (60_000, 28, 28)
    assert moments(images) == pytest.approx((mean * 255, std * 255), abs=255 * 5e-6)
    counts = np.bincount(labels, minlength=10)
    assert counts.tolist() == [6000] * 10 if balanced else (counts.sum() == 60_000 and counts.min() == 5421)
    assert (
        len(read_idx(next(folder.glob("t10k-images*")))) == len(read_idx(next(folder.glob("t10k-labels*")))) == 10_000
    )


@pytest.mark.data
def test_the_published_cifar_files_have_the_known_counts_and_moments(real_data: Callable[[str], Path]) -> None:
    folder = real_data("cifar10")
    parts = [read_cifar10(folder / f"data_batch_{part}.bin", 10_000) for part in range(1, 6)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    assert np.bincount(labels).tolist() == [5000] * 10
    for channel, known in enumerate([(125.307, 62.993), (122.950, 62.089), (113.865, 66.705)]):
        assert moments(images[:, channel]) == pytest.approx(known, abs=5e-4)
    assert np.bincount(read_cifar10(folder / "test_batch.bin", 10_000)[1]).tolist() == [1000] * 10


@pytest.mark.data
def test_the_published_text_has_the_known_length_and_characters(real_data: Callable[[str], Path]) -> None:
    ids, vocabulary = read_characters(real_data("tinyshakespeare") / "input.txt")
    assert len(ids) == 1_115_394
    assert len(vocabulary) == 65
    assert "".join(vocabulary[number] for number in ids[:14]) == "First Citizen:"
