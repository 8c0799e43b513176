//! Checking a finished output against its manifest: files, names, types, shapes, and the hash of every tensor.
//!
//! The manifest is what a conversion or a repair has promised; everything else is read from the files. What does not
//! agree is told problem by problem, so that one damaged tensor hides no other.

use crate::digest::Sha;
use crate::error::ConvertError;
use crate::manifest::NAME;
use crate::passage::Passage;
use crate::survey::SourceFile;
use quantscope_audit::{Checkpoint, Shard};
use quantscope_format::Arrange as _;
use quantscope_format::{Control, Limits, TensorInfo, read_small};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// Something that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `manifest`, `file`, `header`, `tensor` or `source`: what the problem is with.
    pub about: String,
    /// Name of the tensor or file.
    pub subject: String,
    /// File it is in.
    pub file: String,
    /// What is wrong, in a few words.
    pub message: String,
    /// What the manifest says; empty where there is nothing to say.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// What was checked, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files of the output that the manifest lists.
    pub files: u64,
    /// Tensors whose hash was compared.
    pub tensors: u64,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Files of the source that were compared.
    pub sources: u64,
    /// What is wrong, in the order of the manifest.
    pub problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Manifest {
    schema: u64,
    sources: Vec<SourceFile>,
    files: Vec<WeightFile>,
    other_files: Vec<SourceFile>,
    tensors: Vec<Tensor>,
}

#[derive(Deserialize)]
struct WeightFile {
    file: String,
    bytes: u64,
    header_sha256: Option<String>,
}

#[derive(Deserialize)]
struct Tensor {
    name: String,
    file: String,
    dtype: String,
    shape: Vec<u64>,
    sha256: Option<String>,
}

/// Checks an output, and with `against` also that it was made of that source.
///
/// # Errors
/// If there is no manifest or one of a later version, a file cannot be read, or the user cancels. What the files
/// and the manifest hold is never an error.
pub async fn verify(
    output: &Checkpoint,
    against: Option<&Checkpoint>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Verification, ConvertError> {
    let Some(file) = output.other_files.iter().find(|f| f.path == NAME) else {
        return Err(ConvertError::Refused(format!(
            "{} has no {NAME}; only what convert or repair wrote can be verified",
            output.name
        )));
    };
    let mut checker = Checker {
        output,
        limits,
        passage: Passage::new(output, limits, control),
        found: Verification::default(),
    };
    let text = read_small(file.source.as_ref(), limits).await?;
    let read = text.as_deref().map(serde_json::from_slice::<Manifest>);
    // Of 100,000 layers it has 130 MB.
    drop(text);
    let manifest = match read {
        Some(Ok(manifest)) => manifest,
        unread => {
            let why = match unread {
                Some(Err(error)) => error.to_string(),
                _ => format!("it is longer than the limit json of {} bytes", limits.json_bytes),
            };
            checker.problem("manifest", NAME, NAME, "the manifest cannot be read", "", &why);
            return Ok(checker.found);
        }
    };
    if manifest.schema != 1 {
        let schema = manifest.schema;
        return Err(ConvertError::Refused(format!(
            "{NAME} has the schema {schema}, this version knows 1; verify with a newer one"
        )));
    }
    checker.check(&manifest).await?;
    if let Some(source) = against {
        checker.passage = Passage::new(source, limits, control);
        checker.check_sources(source, &manifest.sources).await?;
    }
    Ok(checker.found)
}

struct Checker<'a> {
    output: &'a Checkpoint,
    limits: &'a Limits,
    passage: Passage<'a>,
    found: Verification,
}

impl<'a> Checker<'a> {
    fn problem(
        &mut self,
        about: &str,
        subject: &str,
        file: &str,
        message: &str,
        expected: &str,
        found: &str,
    ) {
        self.found.problems.push(Problem {
            about: about.into(),
            subject: subject.into(),
            file: file.into(),
            message: message.into(),
            expected: expected.into(),
            found: found.into(),
        });
    }

    async fn check(&mut self, manifest: &Manifest) -> Result<(), ConvertError> {
        let others = manifest.other_files.iter().map(|f| f.bytes);
        let total = manifest.files.iter().map(|f| f.bytes).chain(others).fold(0, u64::saturating_add);
        self.passage.begin("Verifying", total);
        let output = self.output;
        let shards: HashMap<&str, &'a Shard> = output.shards.iter().map(|s| (s.file.as_str(), s)).collect();
        let mut tensors: HashMap<&str, Vec<&Tensor>> = HashMap::new();
        for tensor in &manifest.tensors {
            tensors.entry(&tensor.file).or_default().push(tensor);
        }
        for file in &manifest.files {
            self.found.files += 1;
            let listed = tensors.remove(file.file.as_str()).unwrap_or_default();
            match shards.get(file.file.as_str()) {
                Some(shard) => self.check_shard(shard, file, listed).await?,
                None => self.problem("file", &file.file, &file.file, "is missing", "", ""),
            }
        }
        for tensor in manifest.tensors.iter().filter(|t| tensors.contains_key(t.file.as_str())) {
            let message = "the manifest puts it in a file that it does not list";
            self.problem("manifest", &tensor.name, &tensor.file, message, "", "");
        }
        let known: HashSet<&str> = manifest.files.iter().map(|f| f.file.as_str()).collect();
        for shard in output.shards.iter().filter(|s| !known.contains(s.file.as_str())) {
            self.problem("file", &shard.file, &shard.file, "is no file of the manifest", "", "");
        }
        for file in &manifest.other_files {
            self.check_other(file).await?;
        }
        Ok(())
    }

    async fn check_shard(
        &mut self,
        shard: &'a Shard,
        file: &WeightFile,
        listed: Vec<&Tensor>,
    ) -> Result<(), ConvertError> {
        let name = shard.file.as_str();
        let len = shard.source.len();
        if len != file.bytes {
            let (expected, found) = (format!("{} bytes", file.bytes), format!("{len} bytes"));
            self.problem("file", name, name, "has another length", &expected, &found);
        }
        if let Some(expected) = &file.header_sha256 {
            let longest = self.limits.header_bytes.saturating_add(8);
            let end = shard.header.data_start().min(len).min(longest);
            let hash = self.passage.hash_range(shard.source.as_ref(), name, 0..end).await?;
            self.same_hash("header", (name, name), expected, hash);
        } else {
            self.problem("manifest", name, name, "the manifest has no hash of its header", "", "");
        }
        let stored: HashMap<&str, TensorInfo<'_>> =
            shard.header.tensors.iter().map(|t| (t.name, t)).collect();
        let known: HashSet<&str> = listed.iter().map(|t| t.name.as_str()).collect();
        let mut present: Vec<(&Tensor, TensorInfo<'_>)> = Vec::new();
        for tensor in listed {
            match stored.get(tensor.name.as_str()) {
                Some(&info) => present.push((tensor, info)),
                None => self.problem("tensor", &tensor.name, name, "is missing", "", ""),
            }
        }
        // In the order of the file, which is the quickest to read.
        present.arrange_by_key(|(_, info)| info.begin);
        for (tensor, info) in present {
            self.check_tensor(shard, tensor, info).await?;
        }
        for tensor in shard.header.tensors.iter().filter(|t| !known.contains(t.name)) {
            self.problem("tensor", tensor.name, name, "is no tensor of the manifest", "", "");
        }
        Ok(())
    }

    async fn check_tensor(
        &mut self,
        shard: &'a Shard,
        tensor: &Tensor,
        info: TensorInfo<'_>,
    ) -> Result<(), ConvertError> {
        let (name, file) = (tensor.name.as_str(), shard.file.as_str());
        let dtype = info.dtype.tag();
        if dtype != tensor.dtype {
            self.problem("tensor", name, file, "has another type", &tensor.dtype, dtype);
        }
        if info.shape != tensor.shape {
            let (expected, found) = (format!("{:?}", tensor.shape), format!("{:?}", info.shape));
            self.problem("tensor", name, file, "has another shape", &expected, &found);
        }
        if !shard.header.is_readable(info) {
            self.problem("tensor", name, file, "lies outside its file", "", "");
            return Ok(());
        }
        let hash = self.passage.hash_range(shard.source.as_ref(), name, info.begin..info.end).await?;
        self.found.tensors += 1;
        self.found.bytes = self.found.bytes.saturating_add(info.byte_len());
        match &tensor.sha256 {
            Some(expected) => self.same_hash("tensor", (name, file), expected, hash),
            None => {
                self.problem("manifest", name, file, "the manifest has no hash of it", "", &hash.to_string());
            }
        }
        Ok(())
    }

    async fn check_other(&mut self, file: &SourceFile) -> Result<(), ConvertError> {
        self.found.files += 1;
        let name = file.file.as_str();
        let Some(there) = self.output.other_files.iter().find(|f| f.path == name) else {
            self.problem("file", name, name, "is missing", "", "");
            return Ok(());
        };
        let hash = self.passage.hash_range(there.source.as_ref(), name, 0..there.source.len()).await?;
        self.found.bytes = self.found.bytes.saturating_add(there.source.len());
        self.same_hash("file", (name, name), &file.sha256, hash);
        Ok(())
    }

    async fn check_sources(
        &mut self,
        source: &'a Checkpoint,
        listed: &[SourceFile],
    ) -> Result<(), ConvertError> {
        self.passage.begin("Verifying the source", source.byte_len());
        let shards: HashMap<&str, &'a Shard> = source.shards.iter().map(|s| (s.file.as_str(), s)).collect();
        for file in listed {
            self.found.sources += 1;
            let name = file.file.as_str();
            let Some(shard) = shards.get(name) else {
                self.problem("source", name, name, "is missing in the source", "", "");
                continue;
            };
            let len = shard.source.len();
            if len != file.bytes {
                let (expected, found) = (format!("{} bytes", file.bytes), format!("{len} bytes"));
                self.problem("source", name, name, "has another length in the source", &expected, &found);
                continue;
            }
            let hash = self.passage.hash_range(shard.source.as_ref(), name, 0..len).await?;
            self.found.bytes = self.found.bytes.saturating_add(len);
            self.same_hash("source", (name, name), &file.sha256, hash);
        }
        let known: HashSet<&str> = listed.iter().map(|f| f.file.as_str()).collect();
        for shard in source.shards.iter().filter(|s| !known.contains(s.file.as_str())) {
            let message = "is in the source, but the output was not made of it";
            self.problem("source", &shard.file, &shard.file, message, "", "");
        }
        Ok(())
    }

    fn same_hash(&mut self, about: &str, (subject, file): (&str, &str), expected: &str, found: Sha) {
        let found = found.to_string();
        if !found.eq_ignore_ascii_case(expected) {
            let message = if about == "header" { "has another header" } else { "has other bytes" };
            self.problem(about, subject, file, message, expected, &found);
        }
    }
}
