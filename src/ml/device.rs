//! Which processor the work runs on: what the user asked for, what is there, and why it was chosen.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use burn::tensor::Device;

/// What the user asked for with `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Want {
    /// CUDA when it is compiled in and a GPU answers, then a hardware wgpu adapter, then the CPU.
    #[default]
    Auto,
    Cpu,
    /// CUDA GPU number N.
    Cuda(usize),
    /// wgpu adapter number N, hardware adapters first.
    Wgpu(usize),
}

/// A device that was opened, with what to tell the user about it.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub device: Device,
    /// "cpu", "cuda:0", "wgpu:1".
    pub name: String,
    /// Why this one, as a fragment: "asked for", "no GPU backend in this build".
    pub why: String,
}

impl FromStr for Want {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number)),
            None => (text, None),
        };
        let index = |number: Option<&str>| match number {
            None => Ok(0),
            Some(digits) => digits.parse::<usize>().map_err(|_| {
                anyhow::anyhow!("device `{text}`: `{digits}` is not a device number; write for example `{kind}:0`")
            }),
        };
        match (kind, number) {
            ("auto", None) => Ok(Want::Auto),
            ("cpu", None) => Ok(Want::Cpu),
            ("cuda", number) => Ok(Want::Cuda(index(number)?)),
            ("wgpu", number) => Ok(Want::Wgpu(index(number)?)),
            ("auto" | "cpu", Some(_)) => bail!("device `{text}`: `{kind}` takes no number"),
            _ => bail!("unknown device `{text}`; known are auto, cpu, cuda, cuda:N, wgpu, wgpu:N"),
        }
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Want::Auto => f.write_str("auto"),
            Want::Cpu => f.write_str("cpu"),
            Want::Cuda(index) => write!(f, "cuda:{index}"),
            Want::Wgpu(index) => write!(f, "wgpu:{index}"),
        }
    }
}

/// Opens the wanted device, without autodiff: training adds it by `device.autodiff()`.
///
/// A device asked for by name that is not there is an error; `auto` always finds one.
pub fn open(want: &Want) -> Result<Chosen> {
    match *want {
        Want::Cpu => Ok(cpu("asked for".into())),
        Want::Cuda(index) => match cuda::open(index) {
            Ok(device) => Ok(chosen(device, format!("cuda:{index}"), "asked for".into())),
            Err(reason) => bail!("device cuda:{index} cannot be used: {reason}"),
        },
        Want::Wgpu(index) => match wgpu::open(index, Adapters::All) {
            Ok(device) => Ok(chosen(device, format!("wgpu:{index}"), "asked for".into())),
            Err(reason) => bail!("device wgpu:{index} cannot be used: {reason}"),
        },
        Want::Auto => Ok(auto()),
    }
}

/// True for Burn's `flex`, the CPU backend, with or without autodiff.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Which wgpu adapters count: software ones compute on the CPU, slower than `flex` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "wgpu"), allow(dead_code))]
enum Adapters {
    Hardware,
    All,
}

fn auto() -> Chosen {
    let no_cuda = match cuda::open(0) {
        Ok(device) => return chosen(device, "cuda:0".into(), "a CUDA GPU answers".into()),
        Err(reason) => reason,
    };
    let no_wgpu = match wgpu::open(0, Adapters::Hardware) {
        Ok(device) => {
            let why = format!("a hardware wgpu adapter answers; CUDA: {no_cuda}");
            return chosen(device, "wgpu:0".into(), why);
        }
        Err(reason) => reason,
    };
    cpu(format!("CUDA: {no_cuda}; wgpu: {no_wgpu}"))
}

fn cpu(why: String) -> Chosen {
    chosen(Device::flex(), "cpu".into(), why)
}

fn chosen(device: Device, name: String, why: String) -> Chosen {
    Chosen { device, name, why }
}

#[cfg(feature = "cuda")]
mod cuda {
    use burn::tensor::Device;
    use std::ffi::c_int;

    /// Asks the driver before Burn does: where there is none, Burn panics in a worker thread.
    pub(super) fn open(index: usize) -> Result<Device, String> {
        let gpus = count()?;
        if index >= gpus {
            return Err(format!("the driver lists {gpus} GPU(s), numbered from 0"));
        }
        Ok(Device::cuda(index))
    }

    fn count() -> Result<usize, String> {
        const NAMES: [&str; 3] = ["libcuda.so.1", "libcuda.so", "nvcuda.dll"];
        // SAFETY: loading the driver runs its initialisers, as any CUDA program does; the two
        // functions have had these signatures since CUDA 2.0 (cuda.h).
        unsafe {
            let driver = NAMES
                .iter()
                .find_map(|name| libloading::Library::new(name).ok())
                .ok_or("no NVIDIA driver (libcuda) on this machine")?;
            let init: libloading::Symbol<unsafe extern "C" fn(u32) -> c_int> =
                driver.get(b"cuInit\0").map_err(|e| e.to_string())?;
            let device_count: libloading::Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
                driver.get(b"cuDeviceGetCount\0").map_err(|e| e.to_string())?;
            let status = init(0);
            if status != 0 {
                return Err(format!("the NVIDIA driver does not start (cuInit gives {status})"));
            }
            let mut gpus = 0;
            let status = device_count(&mut gpus);
            if status != 0 {
                return Err(format!("the NVIDIA driver lists no GPU (cuDeviceGetCount gives {status})"));
            }
            // Burn loads the driver again; unloading it in between gains nothing.
            std::mem::forget(driver);
            Ok(usize::try_from(gpus).unwrap_or(0))
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use burn::tensor::Device;

    pub(super) fn open(_: usize) -> Result<Device, String> {
        Err("not in this build (cargo build --features cuda)".into())
    }
}

#[cfg(feature = "wgpu")]
mod wgpu {
    use super::Adapters;
    use burn::tensor::{Device, DeviceKind, DeviceType};

    pub(super) fn open(index: usize, adapters: Adapters) -> Result<Device, String> {
        let found = Device::enumerate(DeviceType::Wgpu).into_vec();
        let mut kinds: Vec<DeviceKind> = Vec::new();
        kinds.extend((0..found.len()).map(DeviceKind::DiscreteGpu));
        kinds.extend((0..found.len()).map(DeviceKind::IntegratedGpu));
        kinds.extend((0..found.len()).map(DeviceKind::VirtualGpu));
        if adapters == Adapters::All {
            kinds.push(DeviceKind::Cpu);
        }
        let mut usable: Vec<Device> =
            kinds.into_iter().map(Device::wgpu).filter(|device| found.contains(device)).collect();
        if usable.is_empty() {
            return Err(match adapters {
                Adapters::Hardware => "no hardware adapter".into(),
                Adapters::All => "no adapter (is a Vulkan, Metal or DX12 driver installed?)".into(),
            });
        }
        if index >= usable.len() {
            return Err(format!("there are {} adapter(s), numbered from 0", usable.len()));
        }
        Ok(usable.swap_remove(index))
    }
}

#[cfg(not(feature = "wgpu"))]
mod wgpu {
    use super::Adapters;
    use burn::tensor::Device;

    pub(super) fn open(_: usize, _: Adapters) -> Result<Device, String> {
        Err("not in this build (cargo build --features wgpu)".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_parses_and_prints_back() {
        for (text, want) in
            [("auto", Want::Auto), ("cpu", Want::Cpu), ("cuda:1", Want::Cuda(1)), ("wgpu:0", Want::Wgpu(0))]
        {
            assert_eq!(text.parse::<Want>().ok(), Some(want));
            assert_eq!(want.to_string(), text);
        }
        assert_eq!("cuda".parse::<Want>().ok(), Some(Want::Cuda(0)));
    }

    #[test]
    fn a_wrong_spelling_says_what_is_known() {
        let text = |s: &str| s.parse::<Want>().map_err(|e| e.to_string()).expect_err("wrong");
        assert_eq!(text("gpu"), "unknown device `gpu`; known are auto, cpu, cuda, cuda:N, wgpu, wgpu:N");
        assert_eq!(text("cuda:x"), "device `cuda:x`: `x` is not a device number; write for example `cuda:0`");
        assert_eq!(text("cpu:1"), "device `cpu:1`: `cpu` takes no number");
    }

    #[test]
    fn cpu_opens_and_auto_always_finds_something() {
        let cpu = open(&Want::Cpu).expect("the CPU is always there");
        assert_eq!((cpu.name.as_str(), cpu.why.as_str()), ("cpu", "asked for"));
        assert!(is_cpu(&cpu.device) && is_cpu(&cpu.device.clone().autodiff()));
        assert!(open(&Want::Auto).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_is_refused_with_the_reason() {
        let error = open(&Want::Cuda(0)).map(|c| c.name).expect_err("no CUDA here").to_string();
        assert_eq!(error, "device cuda:0 cannot be used: not in this build (cargo build --features cuda)");
    }
}
