//! What is opened of addresses, and what is fetched for it.

use super::open;
use crate::address::Address;
use crate::connection::Connection;
use crate::error::RemoteError;
use crate::testing::{Fault, Server};
use crate::transport::Transport;
use quantscope_format::{Control, Limits, Progress, Source as _, Uncontrolled, read_header, read_small};
use std::rc::Rc;

/// A weight file with a header of its own length, and a megabyte of data.
fn shard(name: &str) -> Vec<u8> {
    let mut json = format!(r#"{{"{name}":{{"dtype":"U8","shape":[1000000],"data_offsets":[0,1000000]}}}}"#);
    while json.len() % 8 != 0 {
        json.push(' ');
    }
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes.resize(bytes.len() + 1_000_000, 1);
    bytes
}

fn head_len(shard: &[u8]) -> u64 {
    (shard.len() - 1_000_000) as u64
}

struct Asked {
    server: Rc<Server>,
    connection: Rc<Connection>,
    address: Address,
}

impl Asked {
    fn new(server: Server, address: &str) -> Self {
        let server = Rc::new(server);
        let address = Address::parse(address, "https://hub.test").unwrap();
        let connection = Connection::new(Rc::clone(&server) as Rc<dyn Transport>, None, "https://hub.test");
        Self { server, connection: Rc::new(connection), address }
    }

    fn open(&self) -> Result<Vec<super::RemoteFile>, RemoteError> {
        futures_executor::block_on(open(&self.connection, &self.address, &Limits::default(), &Uncontrolled))
    }

    fn names(&self) -> Vec<String> {
        self.open().unwrap().into_iter().map(|file| file.path).collect()
    }
}

#[test]
fn a_file_costs_its_header_and_no_byte_more() {
    let bytes = shard("w");
    let asked =
        Asked::new(Server::with(&[("https://h/a%20b.safetensors", &bytes)]), "https://h/a%20b.safetensors");
    let files = asked.open().unwrap();
    assert_eq!((files.len(), files[0].path.as_str()), (1, "a b.safetensors"));
    assert_eq!(asked.connection.traffic().bytes, head_len(&bytes));
    // The session reads the header from what was fetched, once.
    let source = &files[0].source;
    let header = futures_executor::block_on(read_header(&**source, &Limits::default())).unwrap();
    assert_eq!((header.tensors.len(), header.file_len), (1, bytes.len() as u64));
    assert_eq!(asked.connection.traffic().requests, 2);
    let mut data = [0; 16];
    futures_executor::block_on(source.read(header.data_start(), &mut data)).unwrap();
    assert_eq!((data, asked.connection.traffic().requests), ([1; 16], 3));
    assert!(futures_executor::block_on(source.read(source.len() - 1, &mut data)).is_err());
}

#[test]
fn an_index_brings_its_shards_and_configs() {
    let index = br#"{"weight_map":{"a":"m-2.safetensors","b":"m-10.safetensors","c":"absent.safetensors",
        "d":"../out.safetensors","e":"/etc/x.safetensors","f":"notes.txt","g":"sub/m.safetensors"}}"#;
    let shards = ["a", "b", "g"].map(shard);
    let config = vec![b' '; 70_000];
    let server = Server::with(&[
        ("https://h/m/model.safetensors.index.json?k", index),
        ("https://h/m/m-2.safetensors?k", &shards[0]),
        ("https://h/m/m-10.safetensors?k", &shards[1]),
        ("https://h/m/sub/m.safetensors?k", &shards[2]),
        ("https://h/m/config.json?k", &config),
        ("https://h/out.safetensors?k", &shards[2]),
    ]);
    let asked = Asked::new(server, "https://h/m/model.safetensors.index.json?k");
    let files = asked.open().unwrap();
    let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let expected = [
        "config.json",
        "m-2.safetensors",
        "m-10.safetensors",
        "model.safetensors.index.json",
        "sub/m.safetensors",
    ];
    assert_eq!(names, expected);
    let heads: u64 = shards.iter().map(|shard| head_len(shard)).sum();
    let all = heads + index.len() as u64 + config.len() as u64;
    assert_eq!(asked.connection.traffic().bytes, all);
    assert_eq!(asked.server.asked("https://h/m/config.json?k"), [(0, 65_536), (65_536, 70_000)]);
    let read = futures_executor::block_on(read_small(&*files[0].source, &Limits::default())).unwrap();
    assert_eq!(read.unwrap(), config);
    assert_eq!(asked.connection.traffic().bytes, all, "read once more than fetched");
    assert!((2..=6).contains(&asked.server.most_at_once.get()), "{}", asked.server.most_at_once.get());
}

#[test]
fn a_folder_has_the_usual_names() {
    let bytes = shard("w");
    let server = Server::with(&[
        ("https://h/v/diffusion_pytorch_model.safetensors", &bytes),
        ("https://h/v/config.json", b"{}"),
    ]);
    let asked = Asked::new(server, "https://h/v/");
    assert_eq!(asked.names(), ["config.json", "diffusion_pytorch_model.safetensors"]);
    let empty = Asked::new(Server::default(), "https://h/v/").open();
    assert!(matches!(empty, Err(RemoteError::Nothing { .. })));
}

#[test]
fn a_repository_is_opened_at_one_commit() {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let bytes = shard("w");
    let listing = format!(
        r#"{{"sha":"{sha}","siblings":[{{"rfilename":"vae/m x.safetensors","size":{}}},
        {{"rfilename":"vae/config.json","size":2}},{{"rfilename":"vae/tokenizer.json","size":5}},
        {{"rfilename":"vae/big.json","size":99000000000}},{{"rfilename":"vae/weights.bin","size":9}},
        {{"rfilename":"vae/../x.safetensors"}},{{"rfilename":"unet/m.safetensors"}},{{"rfilename":"README.md"}}]}}"#,
        bytes.len()
    );
    let file = |path: &str| format!("https://hub.test/o/r/resolve/{sha}/{path}");
    let server = Server::with(&[
        ("https://hub.test/api/models/o/r/revision/main?blobs=true", listing.as_bytes()),
        (&file("vae/m%20x.safetensors"), &bytes),
        (&file("vae/config.json"), b"{}"),
    ]);
    let asked = Asked::new(server, "hf://o/r/vae");
    assert_eq!(asked.names(), ["config.json", "m x.safetensors", "tokenizer.json"]);
    assert_eq!(asked.connection.traffic().bytes, head_len(&bytes) + 2 + listing.len() as u64);
    let elsewhere = Asked { address: Address::parse("hf://o/r", "https://hub.test").unwrap(), ..asked };
    let said = elsewhere.open().err().unwrap().to_string();
    assert!(said.contains("unet, vae"), "{said}");
}

#[test]
fn hostile_lists_and_headers_are_refused_or_left_to_the_auditor() {
    for list in ["[]", "{\"siblings\":3}", "{\"siblings\":[{}]}", "", "{"] {
        let url = "https://hub.test/api/models/o/r/revision/main?blobs=true";
        let said = Asked::new(Server::with(&[(url, list.as_bytes())]), "hf://o/r").open().err().unwrap();
        assert!(matches!(said, RemoteError::Unusable { .. }), "{list}: {said}");
    }
    for head in [u64::MAX, 1 << 40, 5000] {
        let mut bytes = head.to_le_bytes().to_vec();
        bytes.resize(100, 0);
        let asked =
            Asked::new(Server::with(&[("https://h/m.safetensors", &bytes)]), "https://h/m.safetensors");
        let files = asked.open().unwrap();
        assert_eq!(asked.connection.traffic().bytes, 8, "{head}");
        let header = futures_executor::block_on(read_header(&*files[0].source, &Limits::default())).unwrap();
        assert!(!header.defects.is_empty(), "{head}");
    }
    for short in [0, 5] {
        let asked = Asked::new(
            Server::with(&[("https://h/m.safetensors", &vec![0; short])]),
            "https://h/m.safetensors",
        );
        assert_eq!(asked.open().unwrap()[0].source.len(), short as u64);
    }
}

#[test]
fn a_shard_that_is_refused_ends_the_opening() {
    let server = Server::with(&[("https://h/m.safetensors", &shard("w"))]).will(&[Fault::Status(403)]);
    let said = Asked::new(server, "https://h/m.safetensors").open().err().unwrap();
    assert!(matches!(said, RemoteError::Denied { .. }), "{said}");
}

/// Stops at once.
struct Stopped;

impl Control for Stopped {
    fn progress(&self, _: &Progress) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_server_that_hangs_can_be_left() {
    let server = Server::with(&[("https://h/m.safetensors", &shard("w"))]).will(&[Fault::Hangs]);
    let asked = Asked::new(server, "https://h/m.safetensors");
    let opened =
        futures_executor::block_on(open(&asked.connection, &asked.address, &Limits::default(), &Stopped));
    assert_eq!(opened.err(), Some(RemoteError::Cancelled));
}
