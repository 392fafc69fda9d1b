"""The processor's vendor, as Linux and Windows tell it, and where oneDNN's products are used."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tamis.compute import onednn_kernel, processor
from tamis.compute.onednn_kernel import LEAST_MULTIPLICATIONS, beats_mkl, is_faster

CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: a processor: with a colon
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    beats_mkl.cache_clear()
    yield
    beats_mkl.cache_clear()


def test_vendor_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(CPUINFO)
    monkeypatch.setattr(processor, "CPUINFO", told)
    assert processor.vendor() == "AuthenticAMD"
    told.write_text("processor\t: 0\nCPU part\t: 0xd0c\n")  # Arm names no vendor
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert processor.vendor() == ""


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD", "AuthenticAMD"),
        ("Intel64 Family 6 Model 140 Stepping 1, GenuineIntel", "GenuineIntel"),
        ("arm", ""),
        ("", ""),
    ],
)
def test_vendor_without_cpuinfo(
    name: str, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: name)
    assert processor.vendor() == vendor


@pytest.mark.parametrize(
    ("vendor", "capability", "found"),
    [
        ("AuthenticAMD", "AVX512", True),
        ("AuthenticAMD", "AVX2", False),
        ("GenuineIntel", "AVX512", False),
        ("", "AVX512", False),
    ],
)
def test_onednn_beats_mkl_where_mkl_leaves_avx512_unused(
    vendor: str, capability: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn_kernel, "vendor", lambda: vendor)
    monkeypatch.setattr(onednn_kernel, "prepacking_is_here", lambda: True)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert beats_mkl() is found


def test_only_large_fp32_products_outside_of_autocast_are_onednns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onednn_kernel, "beats_mkl", lambda: True)
    rows, weight = torch.zeros(32, 256), torch.zeros(128, 256)
    assert len(rows) * weight.numel() == LEAST_MULTIPLICATIONS and is_faster(rows, weight)
    assert not is_faster(rows[1:], weight)
    assert not is_faster(rows[None], weight)
    assert not is_faster(rows.bfloat16(), weight.bfloat16())
    assert not is_faster(rows.double(), weight.double())
    assert not is_faster(rows.to("meta"), weight.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_faster(rows, weight)
    monkeypatch.setattr(onednn_kernel, "beats_mkl", lambda: False)
    assert not is_faster(rows, weight)
