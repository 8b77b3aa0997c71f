def add(event):
    value = event.data.x + 1
    print(value)
    return value
