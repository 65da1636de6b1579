"""The page in a real Chromium: what it shows, and whom it asks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.app.browsing import TABS, browser, images, opened, page, picture, served, use
from tests.chromium import NEEDS_CHROMIUM

__all__ = ["browser", "images", "page", "served"]  # fixtures

pytestmark = NEEDS_CHROMIUM

EVIL = "<script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">${document.title='evil'}"


def test_all_four_tabs_work(page: Page, images: Path) -> None:
    use(page, "Write")
    expect(page.locator("#chosen tr")).to_have_count(10)
    picture(page, images / "app-write.png", 1010)
    use(page, "Classify")
    assert page.locator("#verdict .verdict").inner_text().split(", ")[0] in ("ham", "spam")
    picture(page, images / "app-classify.png", 620)
    use(page, "Instruct")
    assert page.locator("#answer .pane").inner_text()
    assert page.locator("#answer .pane").inner_text() != page.locator("#base .pane").inner_text()
    picture(page, images / "app-instruct.png", 740)
    use(page, "Look inside")
    expect(page.locator("#attention svg rect")).not_to_have_count(0)
    picture(page, images / "app-look.png", 1420)
    assert page.evaluate("document.querySelector('.overview').naturalWidth") > 0


def test_another_layer_and_head_show_another_map_at_once(page: Page) -> None:
    use(page, "Look inside")
    title = page.locator("#attention .title").last
    expect(title).to_contain_text("layer 1 of")
    page.get_by_role("slider", name="Layer").press("ArrowRight")
    expect(title).to_contain_text("layer 2 of", timeout=30_000)
    page.get_by_role("slider", name="Head").press("End")
    expect(title).to_contain_text("head 4 of 4", timeout=30_000)


def test_the_text_is_seen_growing(page: Page) -> None:
    page.evaluate(
        """() => { window.seen = new Set(); new MutationObserver(() => {
            const pane = document.querySelector('#written .pane'); if (pane) window.seen.add(pane.innerText.length);
        }).observe(document.body, {childList: true, subtree: true, characterData: true}); }"""
    )
    page.get_by_role("spinbutton", name="Tokens").first.fill("60")
    use(page, "Write")
    assert page.evaluate("window.seen.size") >= 10


SLOW = """
import time
from gpt_from_scratch.app import instruct, write
def slow(steps):
    return lambda *arguments, **words: (time.sleep(0.1) or step for step in steps(*arguments, **words))
write.stream_steps, instruct.stream_answer = slow(write.stream_steps), slow(instruct.stream_answer)
"""


def test_stop_stops(browser: Browser, serve, models: Path) -> None:
    with serve(models, SLOW) as address, opened(browser, address, width=1200) as page:
        page.get_by_role("spinbutton", name="Tokens").first.fill("200")
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator("#chosen table").wait_for()
        stops(page, "#written")
        page.locator("#written label").first.click()  # what was written until then shows its alternatives
        expect(page.locator("#chosen caption")).to_have_text("What new token 1 was chosen from")
        page.get_by_role("tab", name="Instruct").click()
        page.get_by_role("spinbutton", name="Tokens").fill("60")
        page.get_by_role("button", name="Answer", exact=True).click()
        expect(page.locator("#base .pane")).not_to_be_empty(timeout=30_000)
        stops(page, "#base")


def stops(page: Page, output: str) -> None:
    page.get_by_role("button", name="Stop").click()
    page.wait_for_timeout(1000)
    stopped = page.locator(f"{output} .pane").inner_text()
    assert stopped.strip()
    page.wait_for_timeout(1500)
    assert page.locator(f"{output} .pane").inner_text() == stopped
    assert page.locator(f"{output} [role=status]").inner_text() == ""


def test_a_script_in_a_text_is_inert(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Prompt", exact=True).fill(EVIL)
    use(page, "Write")
    assert page.locator("#written .pane").inner_text().startswith(EVIL)
    page.get_by_role("tab", name="Classify").click()
    page.get_by_label("Message").fill(EVIL)
    use(page, "Classify")
    file = tmp_path / "messages.csv"
    file.write_text(f"{EVIL.replace(',', '')}\nx\n", encoding="utf-8")  # its columns are quoted in the refusal
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Classify the file").click()
    expect(page.get_by_text("expected a column 'text'")).to_be_visible()
    page.get_by_role("tab", name="Look inside").click()
    page.get_by_label("Text to look into").fill(EVIL)
    use(page, "Look inside")
    page.wait_for_timeout(500)
    assert page.title() == "GPT From Scratch"
    assert page.locator("img[src=x]").count() == 0


def test_a_file_comes_back_as_a_table_and_as_csv(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "messages.txt"
    file.write_text("You won a prize\nThe keys, he said\n", encoding="utf-8")
    page.get_by_role("tab", name="Classify").click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Classify the file").click()
    expect(page.locator("#results tbody tr")).to_have_count(2)
    button = page.get_by_role("button", name="Download the results as CSV")
    expect(button).to_be_enabled()
    with page.expect_download() as download:
        button.click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Text,Label,Probability"
    assert lines[2].startswith('"The keys, he said",')


def test_a_refusal_is_read_out(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill(" ")
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Prompt: expected a text, found none")).to_be_visible()


def test_prompt_and_continuation_differ_and_any_token_shows_its_alternatives(page: Page) -> None:
    use(page, "Write")
    assert page.locator("#written b").inner_text() == "Every effort moves you"
    weights = [
        page.locator(f"#written {tag}").first.evaluate("e => getComputedStyle(e).fontWeight") for tag in ("b", "label")
    ]
    assert int(weights[0]) > int(weights[1])
    caption, tokens = page.locator("#chosen caption"), page.locator("#written label")
    for number in (3, 17):
        tokens.nth(number - 1).click()
        expect(caption).to_have_text(f"What new token {number} was chosen from")
    page.keyboard.press("ArrowRight")
    expect(caption).to_have_text("What new token 18 was chosen from")
    marked = page.locator("#chosen .chosen code").inner_text().replace("·", " ").strip()
    assert marked == tokens.nth(17).inner_text().strip().replace("\n", "⏎")


def test_models_have_names_and_are_said_to_be_what_they_are(page: Page) -> None:
    about = page.get_by_text("million parameters").locator("visible=true")
    model = page.get_by_role("listbox", name="Model").or_(page.get_by_role("combobox", name="Model")).first
    model.click()
    options = page.get_by_role("option")
    assert "Instruction model" in options.all_inner_texts()[-1]
    options.filter(has_text="Instruction model").click()
    expect(about).to_contain_text("trained to follow instructions")
    page.get_by_role("tab", name="Classify").click()
    expect(about).to_contain_text("trained to tell ham and spam apart")


def test_a_tab_comes_alive_with_its_model(browser: Browser, serve, models: Path, tmp_path: Path) -> None:
    with serve(tmp_path) as address, opened(browser, address, width=1200) as page:
        expect(page.get_by_text("expected a trained model, found none").locator("visible=true")).to_be_visible()
        for name in ("gpt2/tiny", "pretrain"):
            shutil.copytree(models / name, tmp_path / name)
        use(page, "Write")
        expect(page.get_by_text("never trained").or_(page.get_by_text("trained to continue")).first).to_be_visible()
        use(page, "Look inside")
        expect(page.get_by_role("slider", name="Head")).to_have_attribute("max", "4")
        shutil.copytree(models / "classifier", tmp_path / "classifier")
        use(page, "Classify")
        expect(page.get_by_text("trained to tell ham and spam apart")).to_be_visible()
        page.get_by_role("tab", name="Write").click()
        page.get_by_role("listbox", name="Model").or_(page.get_by_role("combobox", name="Model")).first.click()
        page.get_by_role("option", name="Untrained model").click()
        use(page, "Write")


def test_an_error_clears_what_stood_there(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "messages.txt"
    file.write_text("You won a prize\n", encoding="utf-8")
    fields = {"Write": "Prompt", "Classify": "Message", "Instruct": "Instruction", "Look inside": "Text to look into"}
    left = "#written label, #chosen tr, #verdict p, #mattered li, #results tr, #by-id li, #attention .heat, #looks tr"
    for tab, label in fields.items():
        use(page, tab)
        if tab == "Classify":
            page.locator("input[type=file]").set_input_files(file)
            page.get_by_role("button", name="Classify the file").click()
            page.locator("#results tbody tr").wait_for()
            file.write_text("", encoding="utf-8")
            page.get_by_role("button", name="Clear").or_(page.get_by_label("Remove")).first.click()
            page.get_by_role("button", name="Classify the file").click()
            expect(page.get_by_role("button", name="Download the results as CSV")).to_be_disabled()
        page.get_by_label(label, exact=True).fill(" ")
        page.get_by_role("button", name=TABS[tab][0], exact=True).click()
        expect(page.get_by_role("status").filter(has_text=f"{label}: expected a text, found none")).to_be_visible()
        expect(page.locator(left).locator("visible=true")).to_have_count(0)
        for pane in page.locator(".pane").locator("visible=true").all():
            expect(pane).to_have_text("")


def test_a_text_over_the_limit_is_refused_and_not_cut(page: Page) -> None:
    fields = {"Write": "Prompt", "Classify": "Message", "Instruct": "Instruction", "Look inside": "Text to look into"}
    for tab, label in fields.items():
        page.get_by_role("tab", name=tab).click()
        page.get_by_label(label, exact=True).fill("x" * 2001)
        page.get_by_role("button", name=TABS[tab][0], exact=True).click()
        said = f"{label}: expected at most 2,000 characters, found 2,001"
        expect(page.get_by_role("status").filter(has_text=said)).to_be_visible()
        assert len(page.get_by_label(label, exact=True).input_value()) == 2001


def test_a_prompt_over_the_context_is_cut_on_demand_with_a_note(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("the key " * 200)
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="keep its end with Cut longer texts")).to_be_visible()
    page.get_by_role("checkbox", name="Cut longer texts").check()
    use(page, "Write")
    assert re.match(
        r"Prompt has \d+ tokens: cut to the last \d+; ", page.locator("#written [role=status]").inner_text()
    )
