//! The files of the page, compiled in: markup, style, script and icon. Each is served with its type and a tag of its content, so that a
//! browser that has it is told so in a word. Style and colours stand in the page itself: then one answer is enough to paint something.

use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A file: its path, its type, its content.
pub(super) struct Asset {
    pub(super) path: &'static str,
    kind: &'static str,
    content: &'static str,
}

/// All of them.
pub(super) const ASSETS: &[Asset] = &[
    Asset { path: "/icon.svg", kind: SVG, content: include_str!("icon.svg") },
    Asset { path: "/page.js", kind: SCRIPT, content: include_str!("page.js") },
    Asset { path: "/words.js", kind: SCRIPT, content: include_str!("words.js") },
    Asset { path: "/session.js", kind: SCRIPT, content: include_str!("session.js") },
    Asset { path: "/live.js", kind: SCRIPT, content: include_str!("live.js") },
    Asset { path: "/list.js", kind: SCRIPT, content: include_str!("list.js") },
    Asset { path: "/pipeline.js", kind: SCRIPT, content: include_str!("pipeline.js") },
    Asset { path: "/drawer.js", kind: SCRIPT, content: include_str!("drawer.js") },
    Asset { path: "/capacity.js", kind: SCRIPT, content: include_str!("capacity.js") },
    Asset { path: "/plots.js", kind: SCRIPT, content: include_str!("plots.js") },
];

/// What people open: markup with its style and its first script in it.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("page.html")
        .replace("{style}", include_str!("page.css"))
        .replace("{theme}", include_str!("theme.js"))
});

/// What a browser may do with the page: what it may with all else, and these two parts of it, told by their hashes.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |part: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, part.as_bytes());
        format!("'self' 'sha256-{}'", STANDARD.encode(digest))
    };
    let policy = super::POLICY
        .replace("script-src 'self'", &format!("script-src {}", hash(include_str!("theme.js"))))
        .replace("style-src 'self'", &format!("style-src {}", hash(include_str!("page.css"))));
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(super::POLICY))
});

/// The page itself.
pub(super) fn page(asked: &HeaderMap) -> Response {
    let mut response = answer(asked, HTML, &PAGE);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

impl Asset {
    /// The file, or a word that the browser has it already.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        answer(asked, self.kind, self.content)
    }
}

fn answer(asked: &HeaderMap, kind: &'static str, content: &'static str) -> Response {
    let tag = tag(content);
    let is_known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, content).into_response()
}

/// A tag of some content: FNV-1a, 64 bits. It tells versions apart, and need not withstand anybody.
fn tag(content: &str) -> String {
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}
