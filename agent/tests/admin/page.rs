//! `/traces` in a real browser: Chromium, without a window. The pictures are in the folder that is printed at the end; look at
//! them after a change of the pages.

use std::panic::AssertUnwindSafe;
use std::path::Path;

use crate::browser::{Browser, Look, program};
use crate::export_common::TRACE;
use crate::kept::{DENIED, FAILED, HOSTILE, filled, serve};
use crate::programs::{say, skipped};
use futures_util::FutureExt;
use serde_json::{Value as Json, json};

const LOOKS: [Look; 4] = [
    Look { name: "desktop-light", width: 1280, scheme: "light" },
    Look { name: "desktop-dark", width: 1280, scheme: "dark" },
    Look { name: "phone-light", width: 390, scheme: "light" },
    Look { name: "phone-dark", width: 390, scheme: "dark" },
];

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_in_chromium() {
    let (Some(driver), Some(chromium)) = (program("chromedriver"), program("chromium")) else {
        skipped("/traces in a browser: chromium and chromedriver (Debian: chromium-driver) are not installed");
        return;
    };
    let base = format!("http://{}", serve(filled()).await);
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("traces");
    std::fs::create_dir_all(&pictures).unwrap();
    let browser = Browser::start(&driver, &chromium).await;
    let outcome = AssertUnwindSafe(async {
        for look in LOOKS {
            pages_fit_and_run_nothing(&browser, &base, look, &pictures).await;
        }
        keys_work(&browser, &base).await;
        search_and_links_work(&browser, &base).await;
    })
    .catch_unwind()
    .await;
    browser.close().await;
    say(&format!("pictures: {}", pictures.display()));
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Every page: as wide as the screen and not wider, no word of the console, no value of a span run.
async fn pages_fit_and_run_nothing(browser: &Browser, base: &str, look: Look, pictures: &Path) {
    let pages = [
        ("list", "/traces".to_owned()),
        ("none", "/traces?service=nobody&min=5ms".to_owned()),
        ("wrong", "/traces?min=soon".to_owned()),
        ("unknown", "/traces/00000000000000000000000000000001".to_owned()),
        ("trace", format!("/traces/{TRACE:032x}#span-0000000000000300")),
        ("failed", format!("/traces/{FAILED:032x}")),
        ("denied", format!("/traces/{DENIED:032x}")),
        ("hostile", format!("/traces/{HOSTILE:032x}")),
    ];
    for (name, path) in pages {
        let at = format!("{name} {}", look.name);
        browser.look(look, 844).await;
        browser.client.goto(&format!("{base}{path}")).await.unwrap();
        if name == "failed" || name == "hostile" {
            // With everything unfolded, the long texts too until the picture is taken.
            browser.eval("document.querySelectorAll('details').forEach(d => { d.open = true })").await;
        }
        let too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.eval(too_wide).await, json!(0), "{at}");
        for narrow in if look.width < 600 { &[360, 320][..] } else { &[] } {
            browser.look(Look { width: *narrow, ..look }, 844).await;
            assert_eq!(browser.eval(too_wide).await, json!(0), "{at} {narrow}");
        }
        browser.look(look, 844).await;
        let title = browser.client.title().await.unwrap();
        assert!(title.ends_with("· spoa-otel"), "{at}: {title}");
        let made =
            "document.querySelectorAll('img, iframe, object, embed, style, [style], [onerror], [onload]').length";
        assert_eq!(browser.eval(made).await, json!(0), "{at}");
        assert_eq!(browser.eval("document.scripts.length").await, json!(1), "{at}");
        assert_eq!(browser.eval("document.querySelectorAll('h1').length").await, json!(1), "{at}");
        let twice = "[...document.querySelectorAll('[id]')].filter(e => document.getElementById(e.id) !== e).length";
        assert_eq!(browser.eval(twice).await, json!(0), "{at}");
        assert_eq!(contrasts(browser).await, json!([]), "{at}");
        if let Some(heading) =
            [("trace", "GET /hello 200"), ("denied", "POST /order 503")].iter().find(|of| of.0 == name)
        {
            assert_eq!(browser.eval("document.querySelector('h1').innerText").await, json!(heading.1), "{at}");
        }
        browser.eval("document.querySelectorAll('details.long').forEach(d => { d.open = false })").await;
        browser.screenshot(look, &pictures.join(format!("{name}-{}.png", look.name))).await;
        // A page that is not found is told to the console as well.
        let mut console = browser.console().await;
        console.retain(|entry| {
            !(entry["message"].as_str().unwrap().contains("40") && ["wrong", "unknown"].contains(&name))
        });
        assert_eq!(console, Vec::<Json>::new(), "{at}");
    }
}

/// Texts whose contrast to what is behind them is below WCAG's AA.
async fn contrasts(browser: &Browser) -> Json {
    browser
        .eval(
            "(() => {
                const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
                const light = (color) => {
                    const [r, g, b] = numbers(color).map((c) => c / 255)
                        .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
                };
                const behind = (element) => {
                    for (let e = element; e; e = e.parentElement) {
                        const color = getComputedStyle(e).backgroundColor;
                        if ((numbers(color)[3] ?? 1) > 0) return color;
                    }
                    return 'rgb(255, 255, 255)';
                };
                const low = new Set();
                const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
                while (walker.nextNode()) {
                    const element = walker.currentNode.parentElement;
                    if (!walker.currentNode.data.trim() || element.closest('script, datalist, .vh')) continue;
                    const color = getComputedStyle(element).color;
                    const [a, b] = [light(color), light(behind(element))].sort((x, y) => y - x);
                    if ((a + 0.05) / (b + 0.05) < 4.5) low.add(`${element.tagName}.${element.className} ${color}`);
                }
                return [...low];
            })()",
        )
        .await
}

/// The keyboard is enough, and letters typed into the search are letters.
async fn keys_work(browser: &Browser, base: &str) {
    browser.look(LOOKS[0], 844).await;
    browser.client.goto(&format!("{base}/traces")).await.unwrap();
    browser.press("j").await;
    browser.press("j").await;
    browser.press("j").await;
    browser.press("k").await;
    let second = format!("document.activeElement.getAttribute('href') === '/traces/{DENIED:032x}'");
    assert_eq!(browser.eval(&second).await, json!(true));
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.eval(outline).await, json!("solid"));
    browser.press("\u{e007}").await; // Enter
    browser.until(&format!("location.pathname === '/traces/{DENIED:032x}'")).await;
    browser.press("j").await;
    browser.press("\u{e007}").await;
    browser.until("document.querySelectorAll('details.span[open]').length === 1").await;
    browser.press("e").await;
    browser.until("document.querySelectorAll('details.span[open]').length === 2").await;
    browser.press("c").await;
    browser.until("document.querySelectorAll('details.span[open]').length === 0").await;
    browser.press("u").await;
    browser.until("location.pathname === '/traces'").await;
    browser.press("/").await;
    browser.press("fa11e").await;
    assert_eq!(browser.eval("document.activeElement.value").await, json!("fa11e"));
    browser.press("\u{e007}").await;
    browser.until("location.search.startsWith('?id=fa11e')").await;
    assert_eq!(browser.eval("document.querySelectorAll('a.row').length").await, json!(1));
    assert_eq!(browser.console().await, Vec::<Json>::new());
}

async fn search_and_links_work(browser: &Browser, base: &str) {
    browser.client.goto(&format!("{base}/traces")).await.unwrap();
    browser.eval("document.querySelector('[name=error]').click()").await;
    browser.eval("document.querySelector('.search button').click()").await;
    browser.until("location.search.includes('error=1') && document.querySelectorAll('a.row').length === 2").await;
    // A link to a span unfolds it, on this page and from another one.
    browser.client.goto(&format!("{base}/traces/{HOSTILE:032x}")).await.unwrap();
    browser.press("e").await;
    browser.eval(&format!("document.querySelector('.links a[href*=\"{TRACE:032x}\"]').click()")).await;
    browser.until(&format!("location.pathname === '/traces/{TRACE:032x}'")).await;
    browser.until("document.getElementById('span-0000000000000100')?.open === true").await;
    browser.press("e").await;
    browser.eval("document.querySelector('.links a[href=\"#span-0000000000000102\"]').click()").await;
    browser.until("document.querySelector('details:target')?.id === 'span-0000000000000102'").await;
    // Auto refresh loads the page again, and stays on.
    browser.client.goto(&format!("{base}/traces")).await.unwrap();
    browser.eval("window.isOld = true").await;
    browser.eval("document.getElementById('refresh').click()").await;
    browser.until("window.isOld === undefined").await;
    browser.until("document.getElementById('refresh')?.getAttribute('aria-pressed') === 'true'").await;
    assert_eq!(browser.console().await, Vec::<Json>::new());
}
