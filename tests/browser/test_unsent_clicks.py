"""Clicks made while no server answers: kept in the browser, sent when it is back, each stored once."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from recolabel.client import Client
from recolabel.contract.labels import ClickEvent
from recolabel.contract.projects import NewLabelClass, NewProject
from recolabel.demo import make_demo
from tests.browser.driver import Driver
from tests.servers import Server, StartServer, wait_for

CLASSES = [NewLabelClass(name="meadow", colour="#8bc34a"), NewLabelClass(name="water", colour="#2979ff")]


@pytest.fixture
def server(start_server: StartServer, tmp_path: Path) -> Server:
    """A server without a worker, with a project of one picture."""
    make_demo(tmp_path / "demo", count=1, seed=0)
    server = start_server("serve")
    client = server.client()
    project = client.create_project(NewProject(name="Landscapes", classes=CLASSES))
    [picture] = (tmp_path / "demo" / "images").iterdir()
    client.add_image(project.project_id, picture.name, picture)
    return server


def start_labelling(server: Server, page: Page) -> Driver:
    """Log in and open the picture."""
    driver = Driver(page)
    page.goto(server.address)
    page.get_by_test_id("project-card").get_by_role("link").click()
    driver.open_picture(0)
    return driver


def clicked_pixels(client: Client) -> list[tuple[int, int]]:
    """Pixels (y, x) of all stored clicks, in the order of the log."""
    [project] = client.projects()
    events = [stored.event for stored in client.label_log(project.project_id)]
    return [(event.pixel.y, event.pixel.x) for event in events if isinstance(event, ClickEvent)]


def expect_unsent(page: Page, count: int) -> None:
    expect(page.get_by_test_id("unsent")).to_have_attribute("data-count", str(count), timeout=15_000)


def test_clicks_made_without_a_network_arrive_once_when_it_is_back(server: Server, page: Page) -> None:
    driver = start_labelling(server, page)
    driver.click_pixel(0, 10, 10)
    driver.wait_until_saved()

    page.context.set_offline(True)
    for x in (20, 30, 40):
        driver.click_pixel(1, 10, x)
    expect_unsent(page, 3)
    driver.see("offline")
    page.context.set_offline(False)

    driver.wait_until_saved()
    expect(page.get_by_test_id("offline")).to_have_count(0, timeout=15_000)
    assert clicked_pixels(server.client()) == [(10, 10), (10, 20), (10, 30), (10, 40)]


def test_clicks_outlive_a_killed_server_and_a_reload(server: Server, page: Page, start_server: StartServer) -> None:
    # Given clicks of which the first are stored, and a server that is killed between two of them
    driver = start_labelling(server, page)
    port = int(server.url.rsplit(":", 1)[1])
    driver.click_pixel(0, 10, 10)
    driver.wait_until_saved()
    server.kill()
    for x in (20, 30):
        driver.click_pixel(1, 10, x)
    page.get_by_test_id("undo").click()
    expect_unsent(page, 3)

    # When a server opens the same folder at the same address, and the page is loaded again at once
    again = start_server("serve", data=server.data, port=port)
    page.reload()
    driver.wait_for_picture()
    driver.wait_until_saved()

    # I expect each click once, and the undo to hold and to be taken back by redo
    client = again.client()
    assert clicked_pixels(client) == [(10, 10), (10, 20), (10, 30)]
    assert client.image(driver.image_id).label_count == 2
    page.get_by_test_id("redo").click()
    wait_for(lambda: client.image(driver.image_id).label_count == 3, seconds=10, what="the redo to be stored")


def test_what_a_closed_tab_left_unsent_goes_out_on_the_next_visit_of_any_page(server: Server, page: Page) -> None:
    # Given a tab that is closed with two unsent clicks
    driver = start_labelling(server, page)
    context: BrowserContext = page.context
    context.set_offline(True)
    for x in (20, 30):
        driver.click_pixel(1, 10, x)
    expect_unsent(page, 2)
    page.close()
    context.set_offline(False)

    # When the list of projects is opened, and no project
    context.new_page().goto(server.url)

    client = server.client()
    wait_for(lambda: clicked_pixels(client) == [(10, 20), (10, 30)], seconds=10, what="the clicks of the closed tab")
