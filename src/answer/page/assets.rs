//! The files of the page, compiled in: markup, style, script and icon. Each is served with its type and a tag of its content, so that a
//! browser that has it is told so in a word.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
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
    Asset { path: "/", kind: HTML, content: include_str!("page.html") },
    Asset { path: "/page.css", kind: CSS, content: include_str!("page.css") },
    Asset { path: "/icon.svg", kind: SVG, content: include_str!("icon.svg") },
    Asset { path: "/theme.js", kind: SCRIPT, content: include_str!("theme.js") },
    Asset { path: "/page.js", kind: SCRIPT, content: include_str!("page.js") },
    Asset { path: "/words.js", kind: SCRIPT, content: include_str!("words.js") },
    Asset { path: "/live.js", kind: SCRIPT, content: include_str!("live.js") },
    Asset { path: "/list.js", kind: SCRIPT, content: include_str!("list.js") },
    Asset { path: "/pipeline.js", kind: SCRIPT, content: include_str!("pipeline.js") },
    Asset { path: "/drawer.js", kind: SCRIPT, content: include_str!("drawer.js") },
    Asset { path: "/capacity.js", kind: SCRIPT, content: include_str!("capacity.js") },
    Asset { path: "/plots.js", kind: SCRIPT, content: include_str!("plots.js") },
];

impl Asset {
    /// The file, or a word that the browser has it already.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let tag = tag(self.content);
        let is_known = asked
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|known| known.trim().trim_start_matches("W/") == tag);
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.content).into_response()
    }
}

/// A tag of some content: FNV-1a, 64 bits. It tells versions apart, and need not withstand anybody.
fn tag(content: &str) -> String {
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}
