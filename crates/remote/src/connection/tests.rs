//! What a connection makes of servers that misbehave.

use super::{Connection, Known, Traffic};
use crate::error::RemoteError;
use crate::testing::{Fault, Server};
use crate::transport::{Token, Transport};
use std::rc::Rc;

const URL: &str = "https://h.test/f?sig=secret";

fn ask(server: Server, range: std::ops::Range<u64>) -> (Result<Vec<u8>, RemoteError>, Rc<Server>, Traffic) {
    let server = Rc::new(server);
    let connection = Connection::new(Rc::clone(&server) as Rc<dyn Transport>, None, URL);
    let known = Known { len: 10, etag: Some("\"1\"".into()) };
    let got = futures_executor::block_on(connection.fetch(URL, range, Some(known)));
    (got.map(|(bytes, _)| bytes), server, connection.traffic())
}

fn ten() -> Server {
    Server::with(&[(URL, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])])
}

#[test]
fn what_a_cut_left_out_is_asked_again_from_there() {
    let (got, server, traffic) = ask(ten().will(&[Fault::Cut(3), Fault::Silence, Fault::Cut(1)]), 2..9);
    assert_eq!(got.unwrap(), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(server.asked(URL), [(2, 9), (5, 9), (5, 9), (6, 9)]);
    assert_eq!(traffic, Traffic { requests: 4, bytes: 7 });
}

#[test]
fn a_moment_of_trouble_passes() {
    for fault in [Fault::Silence, Fault::Status(429), Fault::Status(503), Fault::Cut(0)] {
        let (got, server, _) = ask(ten().will(std::slice::from_ref(&fault)), 0..4);
        assert_eq!(got, Ok(vec![0, 1, 2, 3]), "{fault:?}");
        assert_eq!(server.paused.get(), 250, "{fault:?}");
    }
}

#[test]
fn trouble_that_stays_is_told() {
    let (got, server, _) = ask(ten().will(&vec![Fault::Silence; 9]), 0..4);
    assert!(matches!(got, Err(RemoteError::Unreachable { .. })), "{got:?}");
    // A host that has never answered is asked twice, one that has four times.
    assert_eq!(server.log.borrow().len(), 2);
    let mut faults = vec![Fault::Cut(1)];
    faults.extend(vec![Fault::Cut(0); 9]);
    let (got, server, _) = ask(ten().will(&faults), 0..4);
    let said = got.unwrap_err();
    assert!(matches!(said, RemoteError::BrokeOff { got: 1, wanted: 4, .. }), "{said}");
    assert!(!said.to_string().contains("secret"), "{said}");
    assert_eq!(server.log.borrow().len(), 4);
}

#[test]
fn wrong_answers_are_not_asked_for_again() {
    for (fault, kind) in [
        (Fault::Label(None), "WrongRange"),
        (Fault::Label(Some("bytes 1-4/10")), "WrongRange"),
        (Fault::Label(Some("bytes 0-9/10")), "WrongRange"),
        (Fault::Label(Some("bytes 0-3/*")), "WrongRange"),
        (Fault::Label(Some("bytes 0-3/11")), "Changed"),
        (Fault::Tag("\"2\""), "Changed"),
        (Fault::Longer(1), "WrongRange"),
        (Fault::Whole, "NoRanges"),
        (Fault::Status(403), "Denied"),
        (Fault::Status(404), "Missing"),
        (Fault::Status(500 + 90), "Status"),
    ] {
        let (got, server, _) = ask(ten().will(std::slice::from_ref(&fault)), 0..4);
        let said = format!("{:?}", got.unwrap_err());
        assert!(said.starts_with(kind), "{fault:?}: {said}");
        assert_eq!(server.log.borrow().len(), 1, "{fault:?}");
    }
    // A weak tag says nothing of single bytes.
    assert!(ask(ten().will(&[Fault::Tag("W/\"2\"")]), 0..4).0.is_ok());
}

#[test]
fn the_token_goes_to_its_host_alone() {
    for (home, url, expected) in [
        ("https://hub.test", "https://hub.test/f", true),
        ("https://hub.test", "https://hub.test.evil/f", false),
        ("https://hub.test", "https://hub.test:444/f", false),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/f", false),
    ] {
        let server = Rc::new(Server::with(&[(url, &[1])]));
        let connection = Connection::new(Rc::clone(&server) as Rc<dyn Transport>, Token::new("t"), home);
        futures_executor::block_on(connection.fetch(url, 0..1, None)).unwrap();
        let sent = server.log.borrow().iter().any(|request| request.token.is_some());
        assert_eq!(sent, expected, "{url}");
    }
}
