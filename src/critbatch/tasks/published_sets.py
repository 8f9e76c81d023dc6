"""The published data sets: files, addresses, checksums and licences."""

from __future__ import annotations

from dataclasses import dataclass

# No published file or archive is larger, packed or unpacked: the bound for what is read, so that a gzip of 2 MB that
# unpacks to 2 GiB fills neither memory nor disk.
LARGEST_BYTES = 1 << 28


@dataclass(frozen=True)
class DataFile:
    """One file as published. The SHA-256 is that of files whose published MD5 was checked first.

    It is None for a member of an archive that we never had: the archive's MD5 vouches for it alone.
    """

    name: str
    sha256: str | None
    urls: tuple[str, ...] = ()  # tried in this order; empty for a member of an archive

    @property
    def names(self) -> tuple[str, ...]:
        """The accepted file names: a `.gz` file may also be unpacked."""
        return (self.name, self.name.removesuffix(".gz")) if self.name.endswith(".gz") else (self.name,)


@dataclass(frozen=True)
class Archive:
    """A published tar.gz that holds the files of a set. Members are checked one by one after this MD5."""

    name: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Args:
        name: how tasks and messages call it.
        folders: where its files may lie under a data folder; they are written to the first.
        files: all that is needed.
        licence: as its authors state it.
        archive: the one file that is published, where the files come together.
        by_default: whether `make data` fetches it without being asked for it by name.
    """

    name: str
    folders: tuple[str, ...]
    files: tuple[DataFile, ...]
    licence: str
    archive: Archive | None = None
    by_default: bool = True


def _idx_files(addresses: tuple[str, ...], sums: tuple[str, str, str, str]) -> tuple[DataFile, ...]:
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    return tuple(
        DataFile(name, sha256, tuple(address + name for address in addresses))
        for name, sha256 in zip(names, sums, strict=True)
    )


MNIST = DataSet(
    name="mnist",
    folders=("mnist", "MNIST/raw"),
    files=_idx_files(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    licence="CC BY-SA 3.0, as commonly given",
)

FASHION_MNIST = DataSet(
    name="fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    files=_idx_files(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
    licence="MIT",
)

CIFAR10 = DataSet(
    name="cifar10",
    folders=("cifar10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar10"),
    files=(
        DataFile("data_batch_1.bin", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        DataFile("data_batch_2.bin", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        DataFile("data_batch_3.bin", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        DataFile("data_batch_4.bin", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        DataFile("data_batch_5.bin", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        DataFile("test_batch.bin", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    licence="none stated; cite Krizhevsky 2009, Learning multiple layers of features from tiny images",
    archive=Archive(
        "cifar-10-binary.tar.gz",
        "c32a1d4ab5d03f1284b67883e8d87530",
        ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    ),
)

# 161 MB, for two tasks. The MD5 is the one that many public loaders give; the set itself was never at hand here.
CIFAR100 = DataSet(
    name="cifar100",
    folders=("cifar100/cifar-100-binary", "cifar-100-binary", "cifar100"),
    files=(DataFile("train.bin", None), DataFile("test.bin", None)),
    licence=CIFAR10.licence,
    archive=Archive(
        "cifar-100-binary.tar.gz",
        "03b5dce01913d631647c71ecec9e9cb8",
        ("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
    ),
    by_default=False,
)

TINY_SHAKESPEARE = DataSet(
    name="tinyshakespeare",
    folders=("tinyshakespeare",),
    files=(
        DataFile(
            "input.txt",
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
        ),
    ),
    licence="public-domain text",
)

SETS: dict[str, DataSet] = {data.name: data for data in (MNIST, FASHION_MNIST, CIFAR10, CIFAR100, TINY_SHAKESPEARE)}
