//! The shaders without a GPU: that they are valid WebGPU, that they are what the Rust side says, and that
//! those declared exact hold no float.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, TypeInner};
use quantscope_kernels::Kernel;
use quantscope_kernels::spec::{Access, Exactness, KernelSpec};
use std::collections::BTreeSet;

/// Parses and validates with what every WebGPU device has, and nothing more.
fn validated(source: &str) -> Result<(Module, ModuleInfo), String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|e| e.emit_to_string(source))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::empty());
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(source))?;
    Ok((module, info))
}

/// Every use of a float: in the module, or in the text where the compiler has folded it away.
fn floats(source: &str) -> Vec<String> {
    [floats_of_module(source), float_words(source)].concat()
}

/// Every type and every expression of the module that is a float.
fn floats_of_module(source: &str) -> Vec<String> {
    let (module, info) = validated(source).unwrap_or_else(|e| panic!("{e}"));
    let mut found = Vec::new();
    for (_, ty) in module.types.iter() {
        if is_float(&ty.inner) {
            found.push(format!("type {:?}", ty.inner));
        }
    }
    for (handle, expression) in module.global_expressions.iter() {
        if is_float(info[handle].inner_with(&module.types)) {
            found.push(format!("constant {expression:?}"));
        }
    }
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entry_points = module.entry_points.iter().enumerate();
    let entry_points = entry_points.map(|(i, entry)| (&entry.function, info.get_entry_point(i)));
    for (function, info) in functions.chain(entry_points) {
        let name = function.name.as_deref().unwrap_or_default();
        for (handle, expression) in function.expressions.iter() {
            if is_float(info[handle].ty.inner_with(&module.types)) {
                found.push(format!("{name}: {expression:?}"));
            }
        }
    }
    found
}

fn is_float(inner: &TypeInner) -> bool {
    let scalar = match *inner {
        TypeInner::Scalar(scalar)
        | TypeInner::Vector { scalar, .. }
        | TypeInner::Matrix { scalar, .. }
        | TypeInner::Atomic(scalar)
        | TypeInner::ValuePointer { scalar, .. } => scalar,
        // Pointers, arrays and structs are made of types that are listed themselves.
        _ => return false,
    };
    !matches!(scalar.kind, ScalarKind::Sint | ScalarKind::Uint | ScalarKind::Bool | ScalarKind::AbstractInt)
}

/// Words of the text that name a float or could be a float literal.
fn float_words(source: &str) -> Vec<String> {
    let code: String = source.lines().map(|line| format!("{}\n", line.split("//").next().unwrap())).collect();
    let words = code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'));
    words.filter(|word| is_float_word(word)).map(|word| format!("word {word:?}")).collect()
}

fn is_float_word(word: &str) -> bool {
    let named = ["f16", "f32", "f64", "bitcast"].contains(&word)
        || ((word.starts_with("vec") || word.starts_with("mat")) && word.ends_with(['f', 'h']));
    let decimal = word.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !word.starts_with("0x");
    named || (decimal && word.contains(['.', 'e', 'E', 'f', 'h']))
}

#[test]
fn every_shader_is_valid_webgpu() {
    for kernel in Kernel::ALL {
        let source = kernel.spec().source();
        validated(&source).unwrap_or_else(|e| panic!("{}: {e}", kernel.spec().name));
    }
    assert!(validated("enable f16; var<private> x: f16;").is_err(), "a capability got through");
}

#[test]
fn exact_shaders_hold_no_float() {
    for kernel in Kernel::ALL {
        let spec = kernel.spec();
        match spec.exactness {
            Exactness::Exact => assert_eq!(floats(&spec.source()), Vec::<String>::new(), "{}", spec.name),
            Exactness::Narrows => assert_ne!(floats(&spec.source()), Vec::<String>::new(), "{}", spec.name),
        }
    }
}

/// The search of the module finds one float operation in a helper that nothing but an unused function
/// calls; the search of the text finds also those that were folded into an integer.
#[test]
fn a_hidden_float_is_found() {
    let spec = Kernel::AbsMax.spec();
    let kept = [
        "fn helper(x: u32) -> u32 { return u32(f32(x) / 3.0); }",
        "fn helper(x: u32) -> u32 { return bitcast<u32>(bitcast<f32>(x)); }",
        "fn helper(x: u32) -> u32 { return select(0u, 1u, bitcast<f32>(x) > bitcast<f32>(7u)); }",
        "fn helper(x: u32) -> u32 { return pack4x8unorm(unpack4x8unorm(x)); }",
        "fn helper(x: u32) -> u32 { return u32(exp2(f32(x))); }",
        "var<private> kept: vec2<f32>; fn helper(x: u32) -> u32 { return u32(kept.x) + x; }",
    ];
    let folded = [
        "fn helper(x: u32) -> u32 { return x + u32(1.5 * 2.0); }",
        "const SHARE = 0.5; fn helper(x: u32) -> u32 { return x; }",
        "fn helper(x: u32) -> u32 { return x + u32(vec2f().x); }",
        "fn helper(x: u32) -> u32 { return x + u32(1e1f); }",
    ];
    let with = |helper| format!("{}\n{helper}\nfn unused() -> u32 {{ return helper(1u); }}", spec.source());
    for helper in kept {
        assert!(!floats_of_module(&with(helper)).is_empty(), "not found: {helper}");
    }
    for helper in kept.into_iter().filter(|h| !h.contains("unorm")).chain(folded) {
        assert!(!float_words(&with(helper)).is_empty(), "not found: {helper}");
    }
}

/// What differs between a shader and its description.
fn differences(spec: &KernelSpec, source: &str) -> Vec<String> {
    let (module, _) = validated(source).unwrap();
    let mut wrong = Vec::new();
    let mut expect = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{}: {what}: expected {expected}, found {found}", spec.name));
        }
    };
    let [entry] = module.entry_points.as_slice() else { panic!("{}: not one entry point", spec.name) };
    expect("entry point", KernelSpec::ENTRY_POINT.to_owned(), entry.name.clone());
    expect("workgroup", format!("{:?}", [spec.workgroup_size, 1, 1]), format!("{:?}", entry.workgroup_size));

    let mut expected = vec![format!("params: group 0, binding 0, {:?}", AddressSpace::Uniform)];
    for (binding, number) in spec.bindings.iter().zip(1..) {
        let access = match binding.access {
            Access::Read => StorageAccess::LOAD,
            Access::ReadWrite => StorageAccess::LOAD | StorageAccess::STORE,
        };
        let space = AddressSpace::Storage { access };
        expected.push(format!("{}: group 0, binding {number}, {space:?}", binding.name));
    }
    let mut found = Vec::new();
    for (_, global) in module.global_variables.iter() {
        if let (Some(name), Some(binding)) = (&global.name, &global.binding) {
            let (group, number, space) = (binding.group, binding.binding, global.space);
            found.push(format!("{name}: group {group}, binding {number}, {space:?}"));
        }
    }
    found.sort_by_key(|line| line.split("binding ").nth(1).map(str::to_owned));
    expect("bindings", expected.join("; "), found.join("; "));

    let params = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params")).unwrap().1;
    let TypeInner::Struct { members, .. } = &params.inner else { panic!("{}: Params", spec.name) };
    let expected: Vec<_> =
        spec.params.iter().zip((0..).step_by(4)).map(|(f, at)| format!("{f} at {at}, u32")).collect();
    let found: Vec<_> = members
        .iter()
        .map(|member| {
            let inner = &module.types[member.ty].inner;
            let ty = if *inner == TypeInner::Scalar(naga::Scalar::U32) { "u32" } else { "another type" };
            format!("{} at {}, {ty}", member.name.as_deref().unwrap_or_default(), member.offset)
        })
        .collect();
    expect("Params", expected.join("; "), found.join("; "));
    wrong
}

#[test]
fn shaders_are_what_the_rust_side_says() {
    for kernel in Kernel::ALL {
        let spec = kernel.spec();
        assert_eq!(differences(spec, &spec.source()), Vec::<String>::new());
    }
}

/// The comparison above sees a swapped binding, another access, a moved field, another workgroup.
#[test]
fn a_drifted_shader_is_seen() {
    let spec = Kernel::ScaleVerify.spec();
    let source = spec.source();
    let drifts = [
        ("@binding(1)", "@binding(7)"),
        ("<storage, read> scales", "<storage, read_write> scales"),
        ("scale_count: u32,", "other: u32, scale_count: u32,"),
        ("WORKGROUP_SIZE: u32 = 64u", "WORKGROUP_SIZE: u32 = 32u"),
    ];
    for (from, to) in drifts {
        let drifted = source.replace(from, to);
        assert_ne!(drifted, source, "{from} is no longer in the shader");
        assert_eq!(differences(spec, &drifted).len(), 1, "{from} -> {to}");
    }
}

#[test]
fn every_folder_is_a_kernel_and_every_kernel_a_folder() {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "shared" {
            for file in ["mod.rs", "cpu.rs", "shader.wgsl", "tests.rs"] {
                assert!(path.join(file).is_file(), "{name}/{file} is missing");
            }
            folders.insert(name);
        }
    }
    let kernels: BTreeSet<_> = Kernel::ALL.iter().map(|kernel| kernel.spec().name.to_owned()).collect();
    assert_eq!(folders, kernels);
}

/// A dispatch makes at least the invocations asked for, within the limit of each dimension.
#[test]
fn dispatches_are_folded_into_two_dimensions() {
    let spec = Kernel::AbsMax.spec();
    assert_eq!(spec.workgroups(0, 65_535), Some([1, 1]));
    assert_eq!(spec.workgroups(64, 65_535), Some([1, 1]));
    assert_eq!(spec.workgroups(65, 65_535), Some([2, 1]));
    assert_eq!(spec.workgroups(65_535 * 64, 65_535), Some([65_535, 1]));
    assert_eq!(spec.workgroups(65_535 * 64 + 1, 65_535), Some([65_535, 2]));
    assert_eq!(spec.workgroups(65, 1), None);
    assert_eq!(spec.workgroups(u64::MAX, 65_535), None);
}
