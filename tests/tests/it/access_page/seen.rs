//! The page in a real browser.

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Browser, Link, Look, Postgres, Scratch, Sidecar};
use serde_json::{Value, json};

use super::{company, plan};
use crate::{
    house::House,
    page::{DESK, LEAST_CONTRAST, PHONE, says, text},
};

const WHY: &str = "?ask=why&subject=carl&action=execute&type=function&id=gemini_pipe";

/// Everything that a browser can be made to complain of, or to run, by a name.
const INTRUDED: &str =
    "window.intruded !== undefined || document.querySelector('#x, #y, main img, main script') !== null";

async fn open(house: &House, query: &str) -> Result<Browser> {
    let mut browser = Browser::start().await?;
    let url = format!("http://127.0.0.1:{}/access{query}", house.sidecars[0].admin_port());
    browser.open(&url, DESK).await?;
    Ok(browser)
}

async fn click(browser: &mut Browser, selector: &str) -> Result<()> {
    let found = format!("document.querySelector({}) !== null", json!(selector));
    browser.until(&found).await?;
    browser
        .evaluate(&format!("document.querySelector({}).click()", json!(selector)))
        .await
        .map(drop)
}

async fn link(browser: &mut Browser) -> Result<String> {
    let search = browser.evaluate("location.search").await?;
    Ok(search.as_str().context("a link")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_questions_are_asked_by_keyboard_alone() -> Result<()> {
    let house = company(plan()).await?;
    let mut browser = open(&house, "").await?;
    says(&mut browser, "because", "Pick somebody").await;
    // Four links, then the field for somebody.
    for _ in 0..5 {
        browser.press("Tab").await?;
    }
    browser.until("document.activeElement.id === 'who'").await?;
    browser
        .until("document.querySelectorAll('#who-list [role=option]').length === 20")
        .await?;
    browser.write("nowak").await?;
    says(&mut browser, "who-list", "Carl Nowak").await;
    browser
        .until("document.activeElement.getAttribute('aria-activedescendant') === 'who-0'")
        .await?;
    browser.press("Enter").await?;
    says(&mut browser, "because", "Carl Nowak may").await;
    ensure!(
        link(&mut browser).await? == "?ask=person&id=carl&type=model",
        "{}",
        link(&mut browser).await?
    );
    says(&mut browser, "answer", "Platform → Engineering").await;
    says(&mut browser, "answer", "Reads contracts").await;

    // The next question takes along whom the last was about.
    browser.evaluate("document.getElementById('ask-why').focus()").await?;
    browser.press("Enter").await?;
    says(&mut browser, "because", "Pick somebody and something").await;
    browser.evaluate("document.getElementById('type').value = 'function'; document.getElementById('type').dispatchEvent(new Event('change'))").await?;
    browser.evaluate("document.getElementById('what').focus()").await?;
    says(&mut browser, "what-list", "Export to the wiki").await;
    browser.press("ArrowDown").await?;
    browser.press("Escape").await?;
    browser.until("document.getElementById('what-list').hidden").await?;
    browser.press("ArrowDown").await?;
    browser.until("!document.getElementById('what-list').hidden").await?;
    browser.press("ArrowDown").await?;
    browser.press("Enter").await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    says(&mut browser, "because", "(Platform → Engineering)").await;
    ensure!(link(&mut browser).await? == WHY, "{}", link(&mut browser).await?);

    browser
        .evaluate("document.getElementById('ask-resource').focus()")
        .await?;
    browser.press("Enter").await?;
    says(&mut browser, "verdict", "63 people may use Gemini").await;
    // Back is back.
    browser.evaluate("history.back()").await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    ensure!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_opens_what_it_says_and_lists_are_narrowed_and_turned() -> Result<()> {
    let house = company(plan()).await?;
    let mut browser = open(&house, "?ask=resource&type=function&id=gemini_pipe&action=execute").await?;
    says(&mut browser, "verdict", "63 people may use Gemini").await;
    says(&mut browser, "answer", "1–50 of 63").await;
    click(&mut browser, ".pager button:last-child").await?;
    says(&mut browser, "answer", "51–63 of 63").await;
    browser.evaluate("document.getElementById('filter').focus()").await?;
    browser.write("nowak").await?;
    says(&mut browser, "verdict", "1 person of those like “nowak” may use Gemini").await;
    browser.until("document.activeElement.id === 'filter'").await?;
    ensure!(link(&mut browser).await?.contains("search=nowak") && !link(&mut browser).await?.contains("page"));
    // From a row to why, and from there to the command that changes it.
    click(&mut browser, "tbody td:nth-child(2) a").await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    says(
        &mut browser,
        "command",
        "neverstale access revoke --group=engineering function gemini_pipe",
    )
    .await;
    browser.evaluate("document.getElementById('action').value = 'read-valves'; document.getElementById('action').dispatchEvent(new Event('change'))").await?;
    says(&mut browser, "verdict", "Carl Nowak may not read the values of Gemini").await;
    // The person's list, with what is refused too.
    click(&mut browser, "#ask-person").await?;
    says(&mut browser, "because", "Of 4 functions, Carl Nowak may see 2").await;
    click(&mut browser, "#all").await?;
    says(&mut browser, "answer", "The pipe of last year").await;
    ensure!(link(&mut browser).await?.contains("show=all"));
    // What no row speaks of, by its very id.
    browser.evaluate("document.getElementById('who').focus()").await?;
    browser.write("somebody else").await?;
    says(&mut browser, "who-list", "somebody else\nthis very id").await;
    browser.press("Enter").await?;
    says(&mut browser, "answer", "nobody of this id is known").await;
    // The status page knows the way.
    let url = format!("http://127.0.0.1:{}/", house.sidecars[0].admin_port());
    browser.open(&url, DESK).await?;
    click(&mut browser, "a[href='access']").await?;
    // Both pages have a place of that name; between them there is none.
    browser
        .until("document.getElementById('because')?.innerText.includes('Pick somebody') === true")
        .await?;
    Ok(())
}

/// Twenty thousand people are not made for this: the page is given what would be told of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_cut_off_is_said_to_be_a_part() -> Result<()> {
    let house = company(plan()).await?;
    let mut browser = open(&house, "?ask=toString").await?;
    says(&mut browser, "because", "Pick somebody").await;
    for (search, looked_at, matching, verdict, because) in [
        ("", 126, 3, "3 people may see it", "Of 126 people."),
        (
            "",
            100,
            3,
            "At least 3 people may see it",
            "among the first 100 of 126 people",
        ),
        ("a", 99, 1, "1 person of those like “a” may see it", "Of 126 people."),
        (
            "a",
            100,
            1,
            "At least 1 person of those like “a” may see it",
            "among the first 100 people whom this search finds",
        ),
        (
            "a",
            100,
            0,
            "Nobody among the first 100 of those like “a” may see it",
            "narrow the list",
        ),
    ] {
        let told = json!({ "people_total": 126, "looked_at": looked_at, "looked_at_max": 100, "matching": matching, "page": 1, "pages": 1,
                           "rows": [], "resource": { "type": "tool", "id": "it", "name": "it", "exists": false } });
        let asked = json!({ "type": "tool", "id": "it", "action": "read", "search": search });
        let laid = browser
            .evaluate(&format!(
                "(({{ verdict, because }}) => [verdict, because])(LAYOUTS.resource({told}, {asked}, () => {{}}))"
            ))
            .await?;
        ensure!(
            laid[0] == verdict && laid[1].as_str().context("words")?.contains(because),
            "{search} {looked_at} {matching}: {laid}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_to_a_page_that_is_switched_off() -> Result<()> {
    for is_on in [true, false] {
        let house = company(plan().with("NEVERSTALE_ADMIN__ACCESS_PAGE", is_on)).await?;
        let mut browser = Browser::start().await?;
        let url = format!("http://127.0.0.1:{}/", house.sidecars[0].admin_port());
        browser.open(&url, DESK).await?;
        let shown = "getComputedStyle(document.getElementById('access')).display !== 'none'";
        browser.until(&format!("({shown}) === {is_on}")).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_is_refused_at_the_next_look_and_what_can_not_be_known_is_not_shown() -> Result<()> {
    let mut house = company(plan().sidecars(0)).await?;
    let link = Link::to(Postgres::shared().await?.port()).await?;
    house.options.database_url = house.database.url_through(link.port());
    house.sidecars.push(Sidecar::start(&house.options).await?);
    let mut browser = open(&house, WHY).await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    let position = text(&mut browser, "asof").await;
    house
        .write("UPDATE neverstale.access_overlay SET access_control = '{}' WHERE resource_id = 'gemini_pipe'")
        .await?;
    click(&mut browser, "#refresh").await?;
    says(&mut browser, "verdict", "Carl Nowak may not use Gemini").await;
    says(
        &mut browser,
        "command",
        "neverstale access grant --user=carl function gemini_pipe",
    )
    .await;
    ensure!(text(&mut browser, "asof").await != position);
    // By reload too.
    house
        .write("UPDATE function SET user_id = 'carl' WHERE id = 'gemini_pipe'")
        .await?;
    browser.evaluate("location.reload()").await?;
    browser
        .until("document.getElementById('because')?.innerText.includes('owns it') === true")
        .await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    says(&mut browser, "because", "owns it").await;

    link.cut();
    click(&mut browser, "#refresh").await?;
    says(&mut browser, "verdict", "This can't be known now").await;
    says(
        &mut browser,
        "because",
        "Nothing is shown rather than what was so before",
    )
    .await;
    ensure!(text(&mut browser, "answer").await.is_empty() && text(&mut browser, "asof").await.is_empty());
    link.restore();
    browser.until("(document.getElementById('refresh').click(), document.getElementById('verdict').innerText.includes('Carl Nowak may use'))").await?;
    house.sidecars[0].kill_nine().await?;
    click(&mut browser, "#refresh").await?;
    says(&mut browser, "because", "The sidecar does not answer").await;
    ensure!(text(&mut browser, "answer").await.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_becomes_markup_wherever_it_is_shown() -> Result<()> {
    let house = company(plan()).await?;
    let model = "%3Cimg%20src%3Dx%20onerror%3Dintruded%3D1%3E";
    let mut browser = open(&house, "").await?;
    for query in [
        "?ask=person&id=mal&type=model&show=all".to_owned(),
        format!("?ask=resource&type=model&id={model}&action=execute"),
        format!("?ask=why&subject=mal&type=model&id={model}&action=write"),
        format!("?ask=why&subject={model}&type={model}&id={model}&action={model}"),
    ] {
        let url = format!("http://127.0.0.1:{}/access{query}", house.sidecars[0].admin_port());
        browser.open(&url, DESK).await?;
        browser.until("!document.getElementById('verdict').hidden || document.getElementById('answer').innerText.includes('mal')").await?;
        browser.evaluate("document.getElementById('who').focus()").await?;
        browser.write("script").await?;
        browser.evaluate("document.getElementById('what').focus()").await?;
        browser.write("img").await?;
        ensure!(browser.evaluate(INTRUDED).await? == Value::Bool(false), "{query}");
        let refused = |text: &&String| text.contains("400");
        let odd: Vec<&String> = browser.complaints().iter().filter(|text| !refused(text)).collect();
        ensure!(odd.is_empty(), "{query}: {odd:?}");
    }
    browser
        .open(
            &format!(
                "http://127.0.0.1:{}/access?ask=person&id=mal&type=model",
                house.sidecars[0].admin_port()
            ),
            DESK,
        )
        .await?;
    says(&mut browser, "answer", "<script>intruded = 1</script><b id=x>").await;
    says(&mut browser, "answer", "</script><i id=y>").await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_stays_in_the_page() -> Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.path().join("tokens");
    std::fs::write(&file, "sesame-7\n")?;
    let house = company(plan().with("NEVERSTALE_ADMIN__TOKEN_FILE", file.display())).await?;
    let mut browser = open(&house, WHY).await?;
    says(&mut browser, "verdict", "A token is needed").await;
    ensure!(text(&mut browser, "answer").await.is_empty());
    browser.evaluate("document.getElementById('token').focus()").await?;
    browser.write("sesame-7").await?;
    browser.press("Tab").await?;
    browser.press("Enter").await?;
    says(&mut browser, "verdict", "Carl Nowak may use Gemini").await;
    let kept = "document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href + document.documentElement.outerHTML";
    let kept = browser.evaluate(kept).await?;
    ensure!(!kept.as_str().context("a text")?.contains("sesame-7"), "{kept}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_readable_by_day_and_by_night_on_a_desk_and_on_a_phone() -> Result<()> {
    let house = company(plan()).await?;
    let mut browser = open(&house, "").await?;
    for (query, shown) in [
        ("?ask=person&id=carl&type=function&show=all", "Export to the wiki"),
        ("?ask=resource&type=function&id=gemini_pipe&action=execute", "Ada Abbot"),
        (
            "?ask=why&subject=dee&type=function&id=gemini_pipe&action=write",
            "neverstale access grant",
        ),
    ] {
        let url = format!("http://127.0.0.1:{}/access{query}", house.sidecars[0].admin_port());
        browser.open(&url, DESK).await?;
        says(&mut browser, "answer", shown).await;
        let unnamed = "[...document.querySelectorAll('input, select, button')].filter(one => one.offsetParent && !(one.labels?.length || one.innerText)).length";
        ensure!(browser.evaluate(unnamed).await? == 0, "{query}: a field has no name");
        for size in [DESK, PHONE] {
            for is_dark in [false, true] {
                browser.look(Look { is_dark, ..size }).await?;
                let scheme = format!("matchMedia('(prefers-color-scheme: dark)').matches === {is_dark}");
                browser.until(&scheme).await?;
                let least = browser.evaluate(LEAST_CONTRAST).await?;
                ensure!(
                    least[0].as_f64().context("a ratio")? >= 4.5,
                    "{query}, {} wide, dark {is_dark}: {least}",
                    size.width
                );
                let wide = browser.evaluate("document.documentElement.scrollWidth").await?;
                ensure!(
                    wide.as_u64().context("a width")? <= u64::from(size.width),
                    "{query}: {wide} instead of {}",
                    size.width
                );
            }
        }
    }
    Ok(())
}
