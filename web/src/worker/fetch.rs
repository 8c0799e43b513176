//! `fetch` as the transport of checkpoints at an address.
//!
//! Nothing of the user goes along: no cookies, no referrer. The content security policy decides whether anything
//! may go out at all; on the page that is served by default it does not.

use super::{js, scope};
use futures_util::future::{Either, LocalBoxFuture, select};
use js_sys::{Function, Promise, Reflect, Uint8Array};
use quantscope_remote::{Answer, RangeRequest, Transport, TransportError};
use std::pin::pin;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, ReferrerPolicy, RequestCache, RequestCredentials,
    RequestInit, RequestMode, Response,
};

/// How long a server may be silent, in milliseconds.
const SILENCE_MS: u32 = 30_000;

/// Why pages often get no answer where other programs do.
const HIDDEN: &str = "the server is down, or does not let pages read it (CORS); \
     the command line can open the same address, and files that were downloaded can be dropped here";

/// The worker's `fetch`. Each answer is told to the function that it is given.
pub(super) struct Fetch<F> {
    pub(super) told: F,
}

/// Ends a request that nobody waits for any more.
struct Pending(AbortController);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits.
pub(super) async fn pause(milliseconds: u32) {
    let promise = Promise::new(&mut |resolve: Function, _: Function| {
        let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
        // Without a timer the pause is over at once.
        if scope().set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, milliseconds).is_err() {
            let _ = resolve.call0(&JsValue::NULL);
        }
    });
    // The promise is never rejected.
    let _ = JsFuture::from(promise).await;
}

/// What a promise comes to, unless nothing happens for too long.
async fn in_time(promise: Promise) -> Result<JsValue, String> {
    match select(JsFuture::from(promise), pin!(pause(SILENCE_MS))).await {
        Either::Left((result, _)) => result.map_err(|error| js::reason(&error)),
        Either::Right(((), _)) => Err("nothing came for half a minute".into()),
    }
}

async fn get(request: &RangeRequest) -> Result<Answer, TransportError> {
    let refused = |error: JsValue| TransportError { reason: js::reason(&error) };
    let pending = Pending(AbortController::new().map_err(refused)?);
    let headers = Headers::new().map_err(refused)?;
    headers.set("Range", &request.header()).map_err(refused)?;
    if let Some(token) = &request.token {
        headers.set("Authorization", &token.header()).map_err(refused)?;
    }
    let init = RequestInit::new();
    init.set_headers(&headers);
    init.set_mode(RequestMode::Cors);
    init.set_credentials(RequestCredentials::Omit);
    init.set_cache(RequestCache::NoStore);
    init.set_referrer_policy(ReferrerPolicy::NoReferrer);
    init.set_signal(Some(&pending.0.signal()));
    let asked = scope().fetch_with_str_and_init(&request.url, &init);
    let response: Response = in_time(asked)
        .await
        .map_err(|reason| TransportError { reason: format!("{reason}; {HIDDEN}") })?
        .unchecked_into();
    let header = |name: &str| response.headers().get(name).ok().flatten();
    let content_length: Option<u64> = header("content-length").and_then(|length| length.parse().ok());
    let mut answer = Answer {
        status: response.status(),
        content_range: header("content-range"),
        content_length,
        etag: header("etag"),
        ..Answer::default()
    };
    let most = request.most_bytes();
    let is_wanted = match answer.status {
        206 => true,
        200 => content_length.is_none_or(|length| length < most),
        _ => false,
    };
    if let Some(body) = response.body().filter(|_| is_wanted) {
        let reader: ReadableStreamDefaultReader = body.get_reader().unchecked_into();
        answer.cut = read(&reader, most, &mut answer.body).await.err();
    }
    Ok(answer)
}

/// Reads a body as far as it is wanted. What came before an error stays.
async fn read(reader: &ReadableStreamDefaultReader, most: u64, body: &mut Vec<u8>) -> Result<(), String> {
    while (body.len() as u64) < most {
        let next = in_time(reader.read()).await?;
        let is_done = Reflect::get(&next, &"done".into()).is_ok_and(|done| done.is_truthy());
        let piece =
            Reflect::get(&next, &"value".into()).ok().and_then(|value| value.dyn_into::<Uint8Array>().ok());
        let Some(piece) = piece.filter(|_| !is_done) else { return Ok(()) };
        let room = most.saturating_sub(body.len() as u64);
        let taken = u32::try_from(room).unwrap_or(u32::MAX).min(piece.length());
        let start = body.len();
        body.resize(start.saturating_add(taken as usize), 0);
        if let Some(part) = body.get_mut(start..) {
            piece.subarray(0, taken).copy_to(part);
        }
    }
    Ok(())
}

impl<F: Fn(u64)> Transport for Fetch<F> {
    fn get(&self, request: RangeRequest) -> LocalBoxFuture<'_, Result<Answer, TransportError>> {
        Box::pin(async move {
            let answer = get(&request).await;
            (self.told)(answer.as_ref().map_or(0, |answer| answer.body.len() as u64));
            answer
        })
    }

    fn pause(&self, milliseconds: u32) -> LocalBoxFuture<'_, ()> {
        Box::pin(pause(milliseconds))
    }
}
