//! What the division needs to know of a program: who calls whom, what stands in the table, and every function's name.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    ElementItems, ElementKind, ExternalKind, FunctionBody, GlobalType, KnownCustom, MemoryType, Name,
    Operator, Parser, Payload, TableType, TypeRef, ValType,
};

/// A program that was read.
#[derive(Default)]
pub(super) struct Program<'a> {
    /// The section of types, as it stands in the program.
    pub(super) types: Option<wasmparser::TypeSectionReader<'a>>,
    /// What each type of a function takes.
    params: Vec<Vec<ValType>>,
    /// What each type of a function gives back.
    results: Vec<usize>,
    /// The types of all functions, imported ones first.
    pub(super) functions: Vec<u32>,
    /// The names of imported functions.
    pub(super) imported: Vec<&'a str>,
    pub(super) tables: Vec<TableType>,
    pub(super) memory: Option<MemoryType>,
    pub(super) globals: Vec<GlobalType>,
    /// The bodies of functions that are not imported.
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// What each of them refers to.
    pub(super) refers: Vec<BTreeSet<u32>>,
    /// Functions that have to stay where the outside finds them: exported ones, and the one that starts.
    pub(super) fixed: BTreeSet<u32>,
    /// Functions that stand in a table.
    pub(super) in_table: BTreeSet<u32>,
    /// The names of functions as they are read, without the hashes that tell crates of one name apart.
    pub(super) names: BTreeMap<u32, String>,
}

impl<'a> Program<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut program = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            program.take(payload?)?;
        }
        ensure!(!program.names.is_empty(), "the functions have no names to tell them apart by");
        Ok(program)
    }

    /// The number of imported functions, which is the index of the first that is not.
    pub(super) fn first_body(&self) -> u32 {
        u32::try_from(self.imported.len()).unwrap_or(u32::MAX)
    }

    /// The type of a function, by its place among the types.
    pub(super) fn type_of(&self, function: u32) -> Result<u32> {
        self.functions.get(function as usize).copied().context("a function without a type")
    }

    /// What a function takes.
    pub(super) fn params(&self, function: u32) -> Result<&[ValType]> {
        let of_type = self.type_of(function)?;
        self.params.get(of_type as usize).map(Vec::as_slice).context("a function of a type that is none")
    }

    /// Bytes of a function's body.
    pub(super) fn body_len(&self, function: u32) -> u64 {
        let place = function.checked_sub(self.first_body());
        let body = place.and_then(|place| self.bodies.get(place as usize));
        body.map_or(0, |body| body.range().end.saturating_sub(body.range().start))
    }

    /// Whether a function takes nothing and gives nothing back.
    pub(super) fn is_plain(&self, of_type: u32) -> bool {
        self.params.get(of_type as usize).is_some_and(Vec::is_empty)
            && self.results.get(of_type as usize) == Some(&0)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for of_type in section.clone().into_iter_err_on_gc_types() {
                    let of_type = of_type?;
                    self.params.push(of_type.params().to_vec());
                    self.results.push(of_type.results().len());
                }
                self.types = Some(section);
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let TypeRef::Func(of_type) = import.ty else {
                        bail!("{} is no function; wasm-bindgen imports nothing else", import.name)
                    };
                    self.functions.push(of_type);
                    self.imported.push(import.name);
                }
            }
            Payload::FunctionSection(section) => {
                for of_type in section {
                    self.functions.push(of_type?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.tables.push(table?.ty);
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    ensure!(self.memory.replace(memory?).is_none(), "more than one memory");
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    self.globals.push(global?.ty);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.fixed.insert(export.index);
                    }
                }
            }
            Payload::StartSection { func, .. } => {
                self.fixed.insert(func);
            }
            Payload::ElementSection(section) => {
                for element in section {
                    let element = element?;
                    ensure!(
                        matches!(element.kind, ElementKind::Active { table_index: None | Some(0), .. }),
                        "functions for another table than the first"
                    );
                    let ElementItems::Functions(functions) = element.items else {
                        bail!("a table that is filled with expressions")
                    };
                    for function in functions {
                        self.in_table.insert(function?);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                self.refers.push(refers(&body)?);
                self.bodies.push(body);
            }
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    for part in names {
                        if let Name::Function(functions) = part? {
                            for function in functions {
                                let function = function?;
                                self.names.insert(function.index, without_hashes(function.name));
                            }
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The functions that a body calls or takes the address of.
fn refers(body: &FunctionBody<'_>) -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => {
                found.insert(function_index);
            }
            Operator::MemoryInit { .. }
            | Operator::DataDrop { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. } => {
                bail!("a function that fills memory or tables from the program's own data")
            }
            _ => {}
        }
    }
    Ok(found)
}

/// `core[c5930c85a12de822]::fmt` is `core::fmt`.
fn without_hashes(name: &str) -> String {
    let mut parts = name.split('[');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((hash, rest)) if hash.len() > 9 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                plain += rest;
            }
            _ => {
                plain.push('[');
                plain += part;
            }
        }
    }
    plain
}
