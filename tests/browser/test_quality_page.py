"""The Quality page in a browser: the curve, its newest value and interval, in both themes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, expect

from recolabel.contract.jobs import NewTraining
from recolabel.settings import Settings
from recolabel.store import open_store
from tests.backend.store.street import HEIGHT, WIDTH, Street
from tests.servers import StartServer


def a_labelled_street(data: Path) -> str:
    """A project whose two versions are wrong about a half, then a tenth of all pixels; its id."""
    rng = np.random.default_rng(3)
    with open_store(Settings(data=data)) as store:
        street = Street(store)
        truth = np.zeros((HEIGHT, WIDTH), np.uint8)
        truth[:, WIDTH // 2 :] = 1
        store.ground_truth.put(street.first.image_id, street.first.sha256, truth, [street.road, street.car])
        store.ground_truth.put(street.second.image_id, street.second.sha256, truth, [street.road, street.car])
        for share_wrong in (0.5, 0.1):
            for place in rng.choice(HEIGHT * WIDTH, 100, replace=False):
                y, x = divmod(int(place), WIDTH)
                click = street.click((street.road, street.car)[truth[y, x]], x, y, client_time=datetime.now(UTC))
                street.append(click.model_copy(update={"asked": "random"}))
            store.jobs.start_training(street.project_id, NewTraining())
            street.publish(street.claim(datetime.now(UTC)))
            lease = street.claim(datetime.now(UTC))
            for image in (street.first, street.second):
                wrong = rng.random((HEIGHT, WIDTH)) < share_wrong
                plane = store.blobs.put_bytes(np.where(wrong, 1 - truth, truth).astype(np.uint8).tobytes())
                upload = street.map_of(image, confidence=200).model_copy(update={"prediction": plane})
                store.images.add_map(lease.job.job_id, lease.fence, upload)
            store.jobs.finish(lease.job.job_id, lease.fence)
        return street.project_id


def test_the_quality_page_shows_the_curve_and_its_newest_value_with_an_interval(
    start_server: StartServer, page: Page, tmp_path: Path
) -> None:
    # Given a project with two versions, the second much better, and true masks
    project_id = a_labelled_street(tmp_path / "data")
    server = start_server("serve", data=tmp_path / "data")

    # When a person opens the page from the project's header
    page.goto(server.address)
    page.goto(f"{server.url}/projects/{project_id}")
    page.get_by_test_id("tab-evaluation").click()

    # Then the newest version stands there with its interval, beside the truth, and the curve rises to it
    value, interval = page.get_by_test_id("curve-value"), page.get_by_test_id("curve-interval")
    expect(value).to_be_visible()
    measured, low, high = (
        float(element.get_attribute(name) or "nan")
        for element, name in ((value, "data-value"), (interval, "data-low"), (interval, "data-high"))
    )
    true = float(page.get_by_test_id("curve-true-value").get_attribute("data-value") or "nan")
    assert low < measured < high
    assert low - 0.1 < true < high + 0.1
    heights = [float(dot.get_attribute("cy") or "nan") for dot in page.locator(".curve-estimate circle").all()]
    assert len(heights) == 2
    assert heights[1] < heights[0]

    # And it can be read over minutes and in the dark, where the line keeps its distance from the ground
    page.get_by_test_id("show-minutes").click()
    expect(page.get_by_test_id("curve")).to_have_attribute("data-along", "minutes")
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.locator(".curve-estimate .curve-line").evaluate("line => getComputedStyle(line).stroke"))
    assert colours[0] != colours[1]
