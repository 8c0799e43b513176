//! Writes the part of a program that is fetched later: its functions alone, over the first part's memory.

use super::program::Program;
use super::{Division, FIRST, function_name, global_name, table_name};
use anyhow::{Context as _, Error as Told};
use std::collections::BTreeMap;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, FunctionSection, ImportSection, Module,
    TypeSection,
};

type Written<T> = Result<T, Error<Told>>;

/// The later part of a program that is divided.
pub(super) fn write(read: &Program<'_>, division: &Division) -> Written<Vec<u8>> {
    let own = (0..).zip(&read.functions).filter(|&(function, _)| division.is_later(function));
    let in_order = division.shared.iter().copied().chain(own.clone().map(|(function, _)| function));
    let mut later = Later { places: in_order.zip(0..).collect() };

    let mut types = TypeSection::new();
    let section = read.types.clone().context("the program has no types").map_err(Error::UserError)?;
    later.parse_type_section(&mut types, section)?;

    let mut imports = ImportSection::new();
    for (place, &function) in division.shared.iter().enumerate() {
        let of_type = read.type_of(function).map_err(Error::UserError)?;
        imports.import(FIRST, &function_name(place), EntityType::Function(of_type));
    }
    let memory = read.memory.context("the program has no memory").map_err(Error::UserError)?;
    imports.import(FIRST, &division.memory, later.memory_type(memory)?);
    for (place, table) in division.tables(read).enumerate() {
        imports.import(FIRST, &table_name(place), later.table_type(table)?);
    }
    for (place, &global) in read.globals.iter().enumerate() {
        imports.import(FIRST, &global_name(place), later.global_type(global)?);
    }

    let mut functions = FunctionSection::new();
    for (_, &of_type) in own.clone() {
        functions.function(of_type);
    }

    let slots = division
        .slots
        .iter()
        .map(|&function| later.function_index(function))
        .collect::<Written<Vec<u32>>>()?;
    let mut elements = ElementSection::new();
    let from = ConstExpr::i32_const(division.slots_from.cast_signed());
    elements.active(None, &from, Elements::Functions(slots.into()));

    let mut code = CodeSection::new();
    for (function, body) in (read.first_body()..).zip(&read.bodies) {
        if division.is_later(function) {
            utils::parse_function_body(&mut later, &mut code, body.clone())?;
        }
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&elements).section(&code);
    Ok(module.finish())
}

/// Finds a function of the program in the later part.
struct Later {
    places: BTreeMap<u32, u32>,
}

impl Reencode for Later {
    type Error = Told;

    fn function_index(&mut self, function: u32) -> Written<u32> {
        let place = self.places.get(&function).copied();
        place.with_context(|| format!("function {function} is in neither part")).map_err(Error::UserError)
    }
}
