//! Runs that are stopped: killed at any moment, out of room, their source changed under them. Nothing wrong stands under
//! a final name, the source is untouched, and `--resume` gives the bytes of an undisturbed run.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensor, Tensors, quantscope, read_json, run, write_shard};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Numbers that are the same in every run (Knuth's linear congruential generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

const ROWS: usize = 256;
const COLS: usize = 512;
const LAYERS: usize = 16;

/// A checkpoint of some layers: in BF16, about as large as one tile each.
fn source(root: &Path) -> PathBuf {
    let folder = root.join("source");
    fs::create_dir(&folder).unwrap();
    let mut random = Random(7);
    let mut tensors = Tensors::new();
    for layer in 0..LAYERS {
        let mut bytes = Vec::new();
        for _ in 0..ROWS * COLS {
            // Signs and exponents around 2^-6, random mantissas.
            let pattern = u16::try_from(random.next() & 0x81ff).unwrap() | 0x3c00;
            bytes.extend(pattern.to_le_bytes());
        }
        let name = format!("model.layers.{layer}.mlp.up_proj.weight");
        tensors.insert(name, Tensor { dtype: safetensors::Dtype::BF16, shape: vec![ROWS, COLS], bytes });
    }
    write_shard(&folder.join("model.safetensors"), &tensors, HashMap::new());
    fs::write(folder.join("config.json"), r#"{"model_type": "llama", "hidden_size": 512}"#).unwrap();
    fs::write(folder.join("tokenizer.json"), "{}").unwrap();
    folder
}

fn arguments<'a>(source: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["convert", source.to_str().unwrap(), "-o", out.to_str().unwrap()];
    args.extend(["--to", "nvfp4", "--shard-size", "200KB", "--engine", "cpu", "--limit", "tile=65536"]);
    args.extend(more);
    args
}

/// Every file of a folder, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap()))
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn spawn(args: &[&str]) -> Child {
    quantscope(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Bytes on the disk below a folder: a file that was only begun has its length, but no blocks.
fn written(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

#[test]
fn a_run_that_is_killed_is_continued_to_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let before = files(&source);
    let whole = root.path().join("whole");
    let begun = Instant::now();
    let (code, _, said) = run(arguments(&source, &whole, &[]));
    assert_eq!(code, 0, "{said}");
    let duration = begun.elapsed();
    let expected = files(&whole);
    assert_eq!(
        expected.keys().filter(|name| name.ends_with(".safetensors")).count(),
        LAYERS / 2,
        "{expected:?}"
    );
    let total = written(&whole);

    let mut random = Random(2026);
    let (mut continued, mut stopped) = (0, 0);
    for moment in 0..50_u64 {
        let place = root.path().join(format!("killed-{moment}"));
        fs::create_dir(&place).unwrap();
        let (out, growing) = (place.join("out"), place.join(".out.unfinished"));
        let mut child = spawn(&arguments(&source, &out, &[]));
        // Half of the moments are told by the clock, half by how much is written.
        let share = random.next() % 1000;
        let begun = Instant::now();
        let is_time = || {
            if moment % 2 == 0 {
                begun.elapsed() * 1000 >= duration * u32::try_from(share).unwrap()
            } else {
                written(&growing) * 1000 >= total * share
            }
        };
        while !is_time() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = out.exists();
        if ended {
            assert!(files(&out) == expected, "moment {moment}: something wrong under the final name");
        } else {
            stopped += 1;
            continued += usize::from(
                fs::read(place.join(".out.journal"))
                    .is_ok_and(|journal| journal.iter().filter(|&&byte| byte == b'\n').count() > 1),
            );
            let (code, _, said) = run(arguments(&source, &out, &["--resume"]));
            assert_eq!(code, 0, "moment {moment}: {said}");
            assert!(files(&out) == expected, "moment {moment}: continued to other bytes");
            assert_eq!(names(&place), ["out"], "moment {moment}");
        }
        fs::remove_dir_all(&place).unwrap();
    }
    assert!(stopped > 25 && continued > 5, "{stopped} runs were stopped, {continued} with finished files");
    assert!(files(&source) == before, "the source was touched");
}

/// Lets a run finish some files, as one does that runs out of room at `blocks` of 512 bytes a file.
fn stopped_by_a_full_disk(source: &Path, out: &Path, blocks: u64) -> (i32, String) {
    let program = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &program, "bash", env!("CARGO_BIN_EXE_quantscope")]).args(arguments(
        source,
        out,
        &[],
    ));
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_file_that_cannot_be_written_ends_the_run() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let out = root.path().join("out");
    // Every shard is larger than this.
    let (code, said) = stopped_by_a_full_disk(&source, &out, 100);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("model-00001-of-0000"), "{said}");
    assert_eq!(names(root.path()), ["source"], "{said}");
}

/// A small disk that fills up at the last files, since what is promised leaves no room for the rest of a page. Then
/// the disk grows by less than a shard, and the run goes on: also from a journal that does not name the last shard, as
/// a kill leaves it. That shard is made again, and takes no room from its second making.
#[test]
fn a_disk_that_fills_up_ends_the_run_until_there_is_room() {
    const SCRIPT: &str = r#"
        disk=$1; size=$2; whole=$3; shift 3
        mount -t tmpfs -o size=$size none "$disk" 2>/dev/null || { echo "no mount"; exit 0; }
        "$@"; echo "status $?"; ls -A "$disk"
        mount -o remount,size=$((size + 98304)) "$disk"
        sed -i '$d' "$disk/.out.journal"
        "$@" --resume >/dev/null; echo "status $?"; ls -A "$disk"
        diff -r "$disk/out" "$whole" && echo "the same files"
    "#;
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let (whole, disk) = (root.path().join("whole"), root.path().join("disk"));
    assert_eq!(run(arguments(&source, &whole, &[])).0, 0);
    fs::create_dir(&disk).unwrap();
    let page = 4096;
    let promised: usize =
        files(&whole).iter().filter(|(n, _)| *n != "quantscope.manifest.json").map(|(_, b)| b.len()).sum();
    let size = (promised.div_ceil(page) + 1) * page;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "bash", "-c", SCRIPT, "bash"]);
    command.arg(&disk).arg(size.to_string()).arg(&whole).arg(env!("CARGO_BIN_EXE_quantscope"));
    let Ok(output) = command.args(arguments(&source, &disk.join("out"), &[])).output() else {
        println!("SKIPPED: this system has no unshare");
        return;
    };
    let (told, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if told.is_empty() || told.starts_with("no mount") {
        println!("SKIPPED: no disk can be mounted here: {said}");
        return;
    }
    let expected = "status 2\n.out.journal\n.out.unfinished\nstatus 0\nout\nthe same files\n";
    assert_eq!(told, expected, "{said}");
    assert!(said.contains("no room for") && said.contains("continue with --resume"), "{said}");
}

#[test]
fn a_source_too_large_for_the_disk_is_refused_before_it_is_read() {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("model.safetensors");
    let bytes = 1_u64 << 43;
    let header = format!(r#"{{"a.weight":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    fs::write(&source, &content).unwrap();
    let file = fs::File::options().write(true).open(&source).unwrap();
    if file.set_len(content.len() as u64 + bytes).is_err() {
        println!("SKIPPED: this file system holds no files of 8 TiB");
        return;
    }
    let out = root.path().join("out");
    let (code, _, said) =
        run(["convert", source.to_str().unwrap(), "-o", out.to_str().unwrap(), "--to", "bf16"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("no room for"), "{said}");
    assert_eq!(names(root.path()), ["model.safetensors"]);
}

/// Stops a run after some finished files.
fn stop(source: &Path, out: &Path) {
    let journal = out.parent().unwrap().join(".out.journal");
    for _ in 0..200 {
        let mut child = spawn(&arguments(source, out, &[]));
        let finished =
            || fs::read(&journal).is_ok_and(|bytes| bytes.iter().filter(|&&byte| byte == b'\n').count() > 2);
        while !finished() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(100));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if !out.exists() {
            return;
        }
        fs::remove_dir_all(out).unwrap();
    }
    panic!("no run could be stopped half way");
}

#[test]
fn what_a_stopped_run_has_left_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let (whole, out) = (root.path().join("whole"), root.path().join("out"));
    assert_eq!(run(arguments(&source, &whole, &[])).0, 0);
    let growing = root.path().join(".out.unfinished");

    // Without --resume it is neither overwritten nor continued.
    stop(&source, &out);
    let left = names(&growing);
    let (code, _, said) = run(arguments(&source, &out, &[]));
    assert_eq!((code, said.contains("--resume"), names(&growing)), (2, true, left), "{said}");

    // A byte that is not what it was: the file is made again.
    let shard = growing.join("model-00001-of-00008.safetensors");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    let (code, _, said) = run(arguments(&source, &out, &["--resume"]));
    assert_eq!(code, 0, "{said}");
    assert!(files(&out) == files(&whole));

    // What the journal says of tensors of another file counts for nothing.
    fs::remove_dir_all(&out).unwrap();
    stop(&source, &out);
    let journal = root.path().join(".out.journal");
    let text = fs::read_to_string(&journal).unwrap();
    let mut lines: Vec<serde_json::Value> =
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect();
    for part in ["hashes", "errors"] {
        let mut said = lines[1][part].as_object().unwrap().clone();
        said.values_mut().for_each(|of_one| match of_one {
            serde_json::Value::String(hash) => *hash = "0".repeat(64),
            error => error["max_abs"] = 9.5.into(),
        });
        assert!(!said.is_empty(), "{part}");
        lines[2][part].as_object_mut().unwrap().extend(said);
    }
    fs::write(&journal, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let (code, _, said) = run(arguments(&source, &out, &["--resume"]));
    assert_eq!(code, 0, "{said}");
    assert!(files(&out) == files(&whole));

    // Another request is none that can be continued, and loses nothing of this one.
    fs::remove_dir_all(&out).unwrap();
    stop(&source, &out);
    let (code, _, said) = run(arguments(&source, &out, &["--resume", "--exclude", "*layers.3.*"]));
    assert_eq!((code, said.contains("another conversion")), (2, true), "{said}");
    assert!(said.contains("kept in"), "{said}");

    // Nor is another source.
    let weights = source.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let (code, _, said) = run(arguments(&source, &out, &["--resume"]));
    assert_eq!((code, said.contains("another source")), (2, true), "{said}");
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, &bytes).unwrap();
    let (code, _, said) = run(arguments(&source, &out, &["--resume"]));
    assert_eq!(code, 0, "{said}");
    assert!(files(&out) == files(&whole));
}

/// A conversion of some hundred megabytes of holes, and what is done to its source as soon as it has begun.
fn disturbed(disturb: impl FnOnce(&Path)) -> (i32, String) {
    let root = tempfile::tempdir().unwrap();
    let source = root.path().join("model.safetensors");
    let (rows, cols) = (160_000_u64, 1024_u64);
    let bytes = rows * cols * 4;
    let header =
        format!(r#"{{"l.weight":{{"dtype":"F32","shape":[{rows},{cols}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut content = (header.len() as u64).to_le_bytes().to_vec();
    content.extend(header.as_bytes());
    content.extend(1.0_f32.to_le_bytes());
    fs::write(&source, &content).unwrap();
    let len = 8 + header.len() as u64 + bytes;
    fs::File::options().write(true).open(&source).unwrap().set_len(len).unwrap();
    let out = root.path().join("out");
    let mut child =
        quantscope(["convert", source.to_str().unwrap(), "-o", out.to_str().unwrap(), "--to", "nvfp4"])
            .args(["--engine", "cpu"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    while !root.path().join(".out.unfinished").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    disturb(&source);
    let output = child.wait_with_output().unwrap();
    assert!(!out.exists());
    let left: Vec<String> = names(root.path()).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, Vec::<String>::new());
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_source_that_changes_ends_the_run() {
    let (code, said) = disturbed(|source| {
        use std::os::unix::fs::FileExt as _;
        fs::File::options().write(true).open(source).unwrap().write_all_at(b"x", 1000).unwrap();
    });
    assert_eq!((code, said.contains("was written to while it was read")), (2, true), "{said}");
    let (code, said) = disturbed(|source| fs::remove_file(source).unwrap());
    assert_eq!((code, said.contains("vanished while it was read")), (2, true), "{said}");
    let (code, said) = disturbed(|source| {
        fs::File::options().write(true).open(source).unwrap().set_len(5000).unwrap();
    });
    assert_eq!((code, said.contains("became shorter while it was read")), (2, true), "{said}");
}

#[test]
fn a_folder_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let closed = root.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_ok() {
        println!("SKIPPED: this user may write everywhere");
        return;
    }
    let (code, _, said) = run(arguments(&source, &closed.join("out"), &[]));
    assert_eq!((code, said.contains("closed")), (2, true), "{said}");
}

#[test]
fn the_index_names_the_shard_of_every_tensor() {
    let root = tempfile::tempdir().unwrap();
    let source = source(root.path());
    let out = root.path().join("out");
    let (code, _, said) = run(arguments(&source, &out, &[]));
    assert_eq!(code, 0, "{said}");
    let map = read_json(&out.join("model.safetensors.index.json"))["weight_map"].clone();
    let mut seen = 0;
    for shard in common::shards(&out) {
        let (tensors, _) = common::read_shard(&shard);
        let bytes: usize = tensors.values().map(|t| t.bytes.len()).sum();
        assert!(bytes <= 200_000, "{} holds {bytes} bytes", shard.display());
        for name in tensors.keys() {
            assert_eq!(map[name.as_str()].as_str(), shard.file_name().unwrap().to_str(), "{name}");
            let module = name.rsplit_once('.').unwrap().0;
            assert!(tensors.contains_key(&format!("{module}.weight_scale")), "{name} is without its scale");
            seen += 1;
        }
    }
    assert_eq!((seen, map.as_object().unwrap().len()), (3 * LAYERS, 3 * LAYERS));
}
