//! The folder: whole or not at all, and what stays of a run that was stopped.

use super::FolderSink;
use futures_executor::block_on;
use quantscope_format::{Sink as _, SinkError};
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn files_appear_together_at_the_end() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("new/out");
    let mut sink = FolderSink::new(&out, false).unwrap();
    block_on(async {
        sink.create("a", 4).await.unwrap();
        sink.write_at("a", 2, b"cd").await.unwrap();
        sink.write_at("a", 0, b"ab").await.unwrap();
        let mut back = [0; 4];
        sink.read_back("a").await.unwrap().read(0, &mut back).await.unwrap();
        assert_eq!(&back, b"abcd");
        assert_eq!(sink.create("a", 1).await, Err(SinkError::Exists { name: "a".into() }));
        assert!(!out.exists(), "nothing stands under the final name yet");
        sink.commit().await.unwrap();
    });
    drop(sink);
    assert_eq!(fs::read(out.join("a")).unwrap(), b"abcd");
    assert_eq!(names(&root.path().join("new")), ["out"]);
}

#[test]
fn an_abandoned_folder_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    for abandon in [true, false] {
        let mut sink = FolderSink::new(&out, false).unwrap();
        block_on(async {
            sink.create("a", 4).await.unwrap();
            if abandon {
                sink.abandon().await;
            }
        });
        drop(sink);
        assert!(names(root.path()).is_empty(), "abandon called: {abandon}");
    }
}

#[test]
fn what_stands_there_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "x").unwrap();
    assert!(FolderSink::new(&full, false).is_err());
    assert!(FolderSink::new(&full.join("mine"), false).is_err(), "a file");

    let empty = root.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let mut sink = FolderSink::new(&empty, false).unwrap();
    fs::write(empty.join("theirs"), "y").unwrap();
    assert!(matches!(block_on(sink.commit()), Err(SinkError::Exists { .. })));
    drop(sink);
    assert_eq!(names(&empty), ["theirs"]);
    assert_eq!(names(root.path()), ["empty", "full"]);
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = FolderSink::new(&root.path().join("out"), false).unwrap();
    for name in ["../a", "/a", "b/../../a", ""] {
        assert!(matches!(block_on(sink.create(name, 1)), Err(SinkError::Io { .. })), "{name}");
    }
    assert!(block_on(sink.create("below/a", 1)).is_ok());
}

/// Writes one finished and one unfinished file, and lets go of them as a run does that is stopped.
fn stop(out: &Path) {
    let mut sink = FolderSink::new(out, false).unwrap();
    block_on(async {
        sink.begin_journal(b"head\n").await.unwrap();
        for name in ["a", "b"] {
            sink.create(name, 4).await.unwrap();
            sink.write_at(name, 0, b"once").await.unwrap();
            if name == "a" {
                sink.finish(name, b"a is finished\n").await.unwrap();
            }
        }
        sink.abandon().await;
    });
    assert!(sink.kept().is_some_and(|kept| kept.contains("1 finished file is kept in")), "{:?}", sink.kept());
}

#[test]
fn finished_files_of_a_stopped_run_are_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    stop(&out);
    assert_eq!(names(root.path()), [".out.journal", ".out.unfinished"]);
    let refused = FolderSink::new(&out, false).err().unwrap();
    assert!(refused.message.contains("--resume"), "{}", refused.message);
    assert_eq!(names(&root.path().join(".out.unfinished")), ["a"]);
    // What else lies there is none of the new run's.
    fs::write(root.path().join(".out.unfinished/stray"), "x").unwrap();

    let mut sink = FolderSink::new(&out, true).unwrap();
    block_on(async {
        assert_eq!(sink.stopped_run().await.unwrap().as_deref(), Some(b"head\na is finished\n".as_slice()));
        assert!(sink.take_up("absent").await.unwrap().is_none());
        let mut back = [0; 4];
        sink.take_up("a").await.unwrap().unwrap().read(0, &mut back).await.unwrap();
        assert_eq!(&back, b"once");
        sink.create("b", 5).await.unwrap();
        sink.write_at("b", 0, b"twice").await.unwrap();
        sink.commit().await.unwrap();
    });
    assert_eq!(names(root.path()), ["out"]);
    assert_eq!(names(&out), ["a", "b"]);
    assert_eq!(fs::read(out.join("b")).unwrap(), b"twice");
}

/// A file that is taken up and then made again is the new one.
#[test]
fn a_file_that_is_no_good_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    stop(&out);
    let mut sink = FolderSink::new(&out, true).unwrap();
    block_on(async {
        sink.take_up("a").await.unwrap().unwrap();
        sink.create("a", 3).await.unwrap();
        sink.write_at("a", 0, b"new").await.unwrap();
        sink.commit().await.unwrap();
    });
    assert_eq!(fs::read(out.join("a")).unwrap(), b"new");
}

/// What a killed run has half written takes no room from the run that makes it again.
#[test]
fn what_is_made_again_makes_room_first() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    stop(&out);
    let growing = root.path().join(".out.unfinished");
    fs::create_dir(growing.join("below")).unwrap();
    fs::write(growing.join("below/torn"), "half").unwrap();
    fs::write(growing.join("torn"), "half").unwrap();
    let mut sink = FolderSink::new(&out, true).unwrap();
    block_on(sink.keep_only(&["a".into()])).unwrap();
    assert_eq!(names(&growing), ["a", "below"]);
    assert!(names(&growing.join("below")).is_empty());
    block_on(sink.take_up("a")).unwrap().unwrap();
}

#[test]
fn a_run_that_finished_nothing_leaves_nothing_to_refuse() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    fs::create_dir(root.path().join(".out.unfinished")).unwrap();
    fs::write(root.path().join(".out.unfinished/half"), "x").unwrap();
    fs::write(root.path().join(".out.journal"), "head\n{\"torn").unwrap();
    let mut sink = FolderSink::new(&out, false).unwrap();
    assert_eq!(block_on(sink.stopped_run()), Ok(None));
    block_on(sink.commit()).unwrap();
    assert_eq!(names(root.path()), ["out"]);
    assert!(names(&out).is_empty());
}

#[test]
fn two_runs_do_not_meet() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let first = FolderSink::new(&out, false).unwrap();
    for resume in [false, true] {
        let refused = FolderSink::new(&out, resume).err().unwrap();
        assert!(refused.message.contains("another run is writing"), "{}", refused.message);
    }
    drop(first);
    assert!(names(root.path()).is_empty());
    drop(FolderSink::new(&out, false).unwrap());
}

#[test]
fn room_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let mut sink = FolderSink::new(&root.path().join("out"), false).unwrap();
    assert_eq!(block_on(sink.reserve(1)), Ok(()));
    let refused = block_on(sink.reserve(u64::MAX));
    assert!(matches!(refused, Err(SinkError::Full { needed: u64::MAX, .. })), "{refused:?}");
}
