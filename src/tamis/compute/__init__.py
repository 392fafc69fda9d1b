"""The machine: device, threads, memory and kernels. What is available is measured, and device,
threads and number type are chosen from it.
"""
