"""Prometheus' figures, counted by hand, and read back with Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tamis.serving.metrics import RECENT, Metrics


def read(metrics: Metrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (s.name, *(v for _, v in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def test_verdicts_are_counted_and_their_shares_are_of_the_last_texts() -> None:
    metrics = Metrics()
    metrics.model("mine", ["ham", "spam"])
    found = read(metrics)
    assert (
        found["tamis_verdicts_total", "mine", "unsure"] == 0
        and ("tamis_verdict_share", "mine", "unsure") not in found
    )
    metrics.predicted("mine", ["ham", "ham", "spam", "unsure"])
    found = read(metrics)
    shares = [
        found["tamis_verdict_share", "mine", verdict] for verdict in ("ham", "spam", "unsure")
    ]
    assert shares == [0.5, 0.25, 0.25] and found["tamis_verdicts_total", "mine", "ham"] == 2
    metrics.predicted("mine", ["spam"] * (RECENT - 1))
    found = read(metrics)
    shares = [
        found["tamis_verdict_share", "mine", verdict] for verdict in ("ham", "spam", "unsure")
    ]
    assert shares == [0, (RECENT - 1) / RECENT, 1 / RECENT]
    metrics.predicted("mine", ["ham"] * 3 * RECENT)
    assert read(metrics)["tamis_verdict_share", "mine", "ham"] == 1
    assert read(metrics)["tamis_verdicts_total", "mine", "ham"] == 2 + 3 * RECENT


def test_requests_are_counted_by_route_and_their_seconds_kept() -> None:
    metrics = Metrics()
    metrics.answered("/v1/predict", "POST", 200, 0.006)
    metrics.answered("/v1/predict", "POST", 200, 0.5)
    metrics.answered("other", "BREW", 405, 0.001)
    found = read(metrics)
    assert found["tamis_requests_total", "POST", "/v1/predict", "200"] == 2
    assert found["tamis_requests_total", "other", "other", "405"] == 1
    assert found["tamis_request_seconds_bucket", "0.01", "/v1/predict"] == 1
    assert found["tamis_request_seconds_sum", "/v1/predict"] == 0.506
    assert found["process_resident_memory_bytes",] > 1e6


def test_a_models_name_is_quoted() -> None:
    metrics = Metrics()
    metrics.model('a "b"\\\n', ["ham"])
    metrics.predicted('a "b"\\\n', ["ham"])
    assert read(metrics)["tamis_verdicts_total", 'a "b"\\\n', "ham"] == 1
