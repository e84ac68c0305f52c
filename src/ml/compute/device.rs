//! Chooses the processor for the work from what the user asked for and what the machine has, and says why.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use burn::tensor::Device;

/// The device that the user asked for with `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Want {
    /// CUDA if this build has it and a GPU responds, else a hardware wgpu adapter, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// CUDA GPUs with these numbers.
    Cuda(Numbers),
    /// wgpu adapters with these numbers; hardware adapters come first.
    Wgpu(Numbers),
}

/// Numbers of devices of one kind: one device, or several that share each training step. No number repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    pub first: usize,
    pub others: Vec<usize>,
}

/// An opened device, with its name and the reason for choosing it.
#[derive(Debug, Clone)]
pub struct Chosen {
    pub device: Device,
    /// More devices of the same kind, which share each training step with `device`.
    pub others: Vec<Device>,
    /// "cpu", "cuda:0", "wgpu:1", "cuda:0,1".
    pub name: String,
    /// Why this device was chosen, as a fragment: "requested", "a CUDA GPU responds".
    pub why: String,
}

impl FromStr for Want {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, numbers) = match text.split_once(':') {
            Some((kind, numbers)) => (kind, Some(numbers)),
            None => (text, None),
        };
        match (kind, numbers) {
            ("auto", None) => Ok(Want::Auto),
            ("cpu", None) => Ok(Want::Cpu),
            ("cuda", numbers) => Ok(Want::Cuda(Numbers::read(text, kind, numbers)?)),
            ("wgpu", numbers) => Ok(Want::Wgpu(Numbers::read(text, kind, numbers)?)),
            ("auto" | "cpu", Some(_)) => bail!("device `{text}`: `{kind}` takes no number"),
            _ => bail!("unknown device `{text}`; use auto, cpu, cuda, cuda:N, wgpu, wgpu:N, or cuda:0,1 for several"),
        }
    }
}

impl Numbers {
    /// Parse `1` or `0,1`; without numbers, the first device. `text` is everything that the user wrote.
    fn read(text: &str, kind: &str, numbers: Option<&str>) -> Result<Self> {
        let number = |digits: &str| {
            let wrong = || anyhow!("device `{text}`: `{digits}` is not a device number; write for example `{kind}:0`");
            digits.parse::<usize>().map_err(|_| wrong())
        };
        let Some(numbers) = numbers else { return Ok(Self { first: 0, others: Vec::new() }) };
        let numbers = numbers.split(',').map(number).collect::<Result<Vec<_>>>()?;
        if let Some(twice) = numbers.iter().find(|n| numbers.iter().filter(|other| other == n).count() > 1) {
            bail!("device `{text}` names {kind}:{twice} twice");
        }
        Ok(Self { first: numbers[0], others: numbers[1..].to_vec() })
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others.iter().try_for_each(|number| write!(f, ",{number}"))
    }
}

impl fmt::Display for Want {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Want::Auto => f.write_str("auto"),
            Want::Cpu => f.write_str("cpu"),
            Want::Cuda(numbers) => write!(f, "cuda:{numbers}"),
            Want::Wgpu(numbers) => write!(f, "wgpu:{numbers}"),
        }
    }
}

/// Opens the requested device, without autodiff: training adds it with `device.autodiff()`.
///
/// Fails if the user named a device that does not exist. `auto` always finds one.
pub fn open(want: &Want) -> Result<Chosen> {
    match want {
        Want::Cpu => Ok(cpu("requested".into())),
        Want::Cuda(numbers) => open_all(want, numbers, cuda::open),
        Want::Wgpu(numbers) => open_all(want, numbers, |number| wgpu::open(number, Adapters::All)),
        Want::Auto => Ok(auto()),
    }
}

fn open_all(want: &Want, numbers: &Numbers, open: impl Fn(usize) -> Result<Device, String>) -> Result<Chosen> {
    let open = |&number: &usize| open(number).map_err(|reason| anyhow!("cannot use device {want}: {reason}"));
    let device = open(&numbers.first)?;
    let others = numbers.others.iter().map(open).collect::<Result<_>>()?;
    Ok(Chosen { others, ..chosen(device, want.to_string(), "requested".into()) })
}

/// Bytes that the device's memory pool holds, in use or kept for reuse. `None` for the CPU, which has no pool.
pub fn pool_bytes(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

impl Chosen {
    /// Bytes of memory of the device (of the first one, if there are several), as the kernel or the driver reports
    /// them. `None` for wgpu, which does not report it.
    pub fn total_bytes(&self) -> Option<u64> {
        match self.name.parse().ok()? {
            Want::Cuda(numbers) => cuda::total_bytes(numbers.first),
            Want::Cpu => main_memory_bytes(),
            Want::Auto | Want::Wgpu(_) => None,
        }
    }
}

/// The machine's memory, or the limit of this process's control group (version 2) or one of its parents if it is lower.
pub fn main_memory_bytes() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limit = |group: &Path| -> Option<u64> {
        let file = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(file).ok()?.trim().parse().ok() // The file says "max" if there is no limit.
    };
    Path::new(group).ancestors().filter_map(limit).chain([machine]).min()
}

/// True for Burn's `flex`, the CPU backend, with or without autodiff.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Which wgpu adapters to use. Software adapters compute on the CPU, slower than `flex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "wgpu"), allow(dead_code))]
enum Adapters {
    Hardware,
    All,
}

fn auto() -> Chosen {
    let no_cuda = match cuda::open(0) {
        Ok(device) => return chosen(device, "cuda:0".into(), "a CUDA GPU responds".into()),
        Err(reason) => reason,
    };
    let no_wgpu = match wgpu::open(0, Adapters::Hardware) {
        Ok(device) => {
            let why = format!("a hardware wgpu adapter responds; CUDA: {no_cuda}");
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
    Chosen { device, others: Vec::new(), name, why }
}

#[cfg(feature = "cuda")]
mod cuda {
    use burn::tensor::Device;
    use std::ffi::c_int;

    /// Asks the driver before Burn does: without a driver, Burn panics in a worker thread.
    pub(super) fn open(index: usize) -> Result<Device, String> {
        let gpus = count()?;
        if index >= gpus {
            return Err(format!("the driver lists {gpus} GPU(s), numbered from 0"));
        }
        Ok(Device::cuda(index))
    }

    /// Bytes of memory on GPU number `index`.
    pub(super) fn total_bytes(index: usize) -> Option<u64> {
        let (mut gpu, mut bytes) = (0, 0usize);
        // SAFETY: the functions have had these signatures since CUDA 3.2 (cuda.h).
        let status = unsafe {
            let driver = driver().ok()?;
            let get: libloading::Symbol<unsafe extern "C" fn(*mut c_int, c_int) -> c_int> =
                driver.get(b"cuDeviceGet\0").ok()?;
            let total: libloading::Symbol<unsafe extern "C" fn(*mut usize, c_int) -> c_int> =
                driver.get(b"cuDeviceTotalMem_v2\0").ok()?;
            let found = get(&mut gpu, c_int::try_from(index).ok()?);
            let status = if found == 0 { total(&mut bytes, gpu) } else { found };
            std::mem::forget(driver);
            status
        };
        (status == 0).then_some(bytes as u64)
    }

    fn count() -> Result<usize, String> {
        let mut gpus = 0;
        // SAFETY: the function has had this signature since CUDA 2.0 (cuda.h).
        unsafe {
            let driver = driver()?;
            let device_count: libloading::Symbol<unsafe extern "C" fn(*mut c_int) -> c_int> =
                driver.get(b"cuDeviceGetCount\0").map_err(|e| e.to_string())?;
            let status = device_count(&mut gpus);
            if status != 0 {
                return Err(format!("the NVIDIA driver lists no GPU (cuDeviceGetCount returned {status})"));
            }
            // Burn loads the driver again, so unloading it in between gains nothing.
            std::mem::forget(driver);
        }
        Ok(usize::try_from(gpus).unwrap_or(0))
    }

    /// Load and initialise the driver.
    fn driver() -> Result<libloading::Library, String> {
        const NAMES: [&str; 3] = ["libcuda.so.1", "libcuda.so", "nvcuda.dll"];
        // SAFETY: loading the driver runs its initialisers, as any CUDA program does; `cuInit` has had this signature since
        // CUDA 2.0 (cuda.h).
        unsafe {
            let driver = NAMES
                .iter()
                .find_map(|name| libloading::Library::new(name).ok())
                .ok_or("no NVIDIA driver (libcuda) on this machine")?;
            let init: libloading::Symbol<unsafe extern "C" fn(u32) -> c_int> =
                driver.get(b"cuInit\0").map_err(|e| e.to_string())?;
            let status = init(0);
            if status != 0 {
                return Err(format!("the NVIDIA driver failed to start (cuInit returned {status})"));
            }
            Ok(driver)
        }
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use burn::tensor::Device;

    pub(super) fn open(_: usize) -> Result<Device, String> {
        Err("not in this build (cargo build --features cuda)".into())
    }

    pub(super) fn total_bytes(_: usize) -> Option<u64> {
        None
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

    fn numbers(all: &[usize]) -> Numbers {
        Numbers { first: all[0], others: all[1..].to_vec() }
    }

    #[test]
    fn every_spelling_parses_and_prints_back() {
        for (text, want) in [
            ("auto", Want::Auto),
            ("cpu", Want::Cpu),
            ("cuda:1", Want::Cuda(numbers(&[1]))),
            ("cuda:0,2,1", Want::Cuda(numbers(&[0, 2, 1]))),
            ("wgpu:0", Want::Wgpu(numbers(&[0]))),
        ] {
            assert_eq!(text.parse::<Want>().ok().as_ref(), Some(&want));
            assert_eq!(want.to_string(), text);
        }
        assert_eq!("cuda".parse::<Want>().ok(), Some(Want::Cuda(numbers(&[0]))));
    }

    #[test]
    fn a_wrong_spelling_says_what_is_known() {
        let text = |s: &str| s.parse::<Want>().map_err(|e| e.to_string()).expect_err("wrong");
        assert_eq!(
            text("gpu"),
            "unknown device `gpu`; use auto, cpu, cuda, cuda:N, wgpu, wgpu:N, or cuda:0,1 for several"
        );
        assert_eq!(text("cuda:x"), "device `cuda:x`: `x` is not a device number; write for example `cuda:0`");
        assert_eq!(text("cuda:0,"), "device `cuda:0,`: `` is not a device number; write for example `cuda:0`");
        assert_eq!(text("cuda:0,1,0"), "device `cuda:0,1,0` names cuda:0 twice");
        assert_eq!(text("cpu:1"), "device `cpu:1`: `cpu` takes no number");
    }

    #[test]
    fn the_cpu_has_no_memory_pool_and_the_machines_memory() {
        assert_eq!(pool_bytes(&Device::flex()), None);
        let cpu = open(&Want::Cpu).expect("the CPU is always there");
        // At least a gigabyte, if the kernel reports it.
        assert!(cpu.total_bytes().is_none_or(|bytes| bytes > 1 << 30), "{:?}", cpu.total_bytes());
        assert_eq!(cpu.total_bytes().is_some(), cfg!(target_os = "linux"));
    }

    #[test]
    fn cpu_opens_and_auto_always_finds_something() {
        let cpu = open(&Want::Cpu).expect("the CPU is always there");
        assert_eq!((cpu.name.as_str(), cpu.why.as_str()), ("cpu", "requested"));
        assert!(is_cpu(&cpu.device) && is_cpu(&cpu.device.clone().autodiff()));
        assert!(open(&Want::Auto).is_ok());
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_is_refused_with_the_reason() {
        let error = open(&Want::Cuda(numbers(&[0]))).map(|c| c.name).expect_err("no CUDA here").to_string();
        assert_eq!(error, "cannot use device cuda:0: not in this build (cargo build --features cuda)");
    }
}
