"""The machine. What it has (device, cores, memory, kernels) is measured; the choice of device,
threads and number type goes out.
"""
